"""Reading JSON strictly: the message has the path and what stands there."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from serve_app.conformance.part import Malformed, Part, short


def test_values() -> None:
    """What is of the right type is handed out as it is."""
    part = Part.parsed('{"a": [{"b": 1, "c": null, "d": ""}]}')
    (item,) = part["a"].items()
    assert item["b"].count() == 1
    assert item["b"].path == "a.0.b"
    assert item["c"].value is None
    assert item.get("c") is None
    assert item.get("e") is None
    assert item["d"].text() == ""


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda part: part["x"], "x: is missing"),
        (lambda part: part["a"]["x"], "a: must be an object, not 1"),
        (lambda part: part["o"]["x"], "o.x: is missing"),
        (lambda part: part["a"].items(), "a: must be an array, not 1"),
        (lambda part: part["a"].text(), "a: must be a string, not 1"),
        (lambda part: part["t"].count(), "t: must be a whole number of at least 0, not True"),
        (lambda part: part["f"].count(), "f: must be a whole number of at least 0, not 1.0"),
        (lambda part: part["e"].name(), "e: must not be empty"),
        (lambda part: part["e"].is_one_of("x", "y"), "e: must be 'x' or 'y', not ''"),
        (lambda part: part.text(), "body: must be a string, not {"),
        (lambda part: Part.parsed("{", "event 3"), "event 3: is no JSON"),
    ],
)
def test_faults(read: Callable[[Part], Any], said: str) -> None:
    """What is not is named."""
    part = Part({"a": 1, "o": {}, "t": True, "f": 1.0, "e": ""})
    with pytest.raises(Malformed, match=f"^{re.escape(said)}"):
        read(part)


def test_short() -> None:
    """A long value is cut in its middle."""
    assert short("x" * 98) == repr("x" * 98)
    assert short("x" * 200).startswith("'xxx")
    assert len(short("x" * 200)) == 93
