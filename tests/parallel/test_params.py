"""Reading params.json: every field is of its type, or an error that names it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel.params import Params, read

Reader = Callable[[Params], Any]


@pytest.mark.parametrize(
    ("values", "reader", "value"),
    [
        ({"n": 3}, lambda p: p.count("n"), 3),
        ({"n": 0}, lambda p: p.count("n", least=0), 0),
        ({"n": 128}, lambda p: p.factor("n"), 128),
        ({"n": 0.5}, lambda p: p.factor("n"), 0.5),
        ({"n": False}, lambda p: p.flag("n", True), False),
        ({"n": None}, lambda p: p.flag("n", True), True),
        ({}, lambda p: p.flag("n", True), True),
        ({"n": "merge"}, lambda p: p.text("n"), "merge"),
        ({"n": None}, lambda p: p.text("n"), ""),
        ({"n": {"m": 1}}, lambda p: p.part("n").count("m"), 1),
        ({"n": None}, lambda p: p.optional_part("n"), None),
    ],
)
def test_a_field_is_what_it_must_be(values: Any, reader: Reader, value: Any) -> None:
    """Its value; what may be left out may be null too."""
    assert reader(Params(values)) == value


@pytest.mark.parametrize(
    ("values", "reader", "line"),
    [
        ({"n": "3"}, lambda p: p.count("n"), "n must be a whole number of at least 1, not '3'"),
        ({"n": 3.0}, lambda p: p.count("n"), "n must be a whole number of at least 1, not 3.0"),
        ({"n": True}, lambda p: p.count("n"), "n must be a whole number of at least 1, not True"),
        ({"n": -1}, lambda p: p.count("n", least=0), "n must be a whole number of at least 0, not -1"),
        ({"n": float("inf")}, lambda p: p.factor("n"), "n must be a positive number, not inf"),
        ({"n": float("nan")}, lambda p: p.factor("n"), "n must be a positive number, not nan"),
        ({"n": None}, lambda p: p.factor("n"), "n must be a positive number, not None"),
        ({"n": 1}, lambda p: p.flag("n", True), "n must be true or false, not 1"),
        ({"n": 1}, lambda p: p.text("n"), "n must be a string, not 1"),
        (
            {"n": {"m": [0] * 9}},
            lambda p: p.part("n").part("m"),
            "n.m must be an object, not [0, 0, 0, 0, 0, 0, ...]",
        ),
    ],
)
def test_a_field_of_another_type(values: Any, reader: Reader, line: str) -> None:
    """The line names the file, the field and its value, which may be long."""
    with pytest.raises(ValueError, match=f"^{re.escape(f'params.json: {line}')}$"):
        reader(Params(values))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{", b"[" * 100_000])
def test_what_is_not_json(content: bytes, tmp_path: Path) -> None:
    """The line names the file, whatever the decoder trips over."""
    (tmp_path / "params.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"^params.json is not JSON: "):
        read(tmp_path)
