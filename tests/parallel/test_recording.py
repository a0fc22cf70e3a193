"""Recordings in their three forms, and what is wrong with others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parallel.load import ExpertLoad, in_order
from parallel.recording import read

COUNTS = np.array([[6, 2, 0, 0], [1, 1, 1, 1]])


def test_lines(tmp_path: Path) -> None:
    """A load a line, or an answer with several; each is named by pool, replica and effort, or its place."""
    values = ExpertLoad(COUNTS, in_order(COUNTS, 2), 60.0).values()
    answer = {"object": "list", "data": [values | {"pool": "p", "replica": "r1"}, values | {"pool": "q"}]}
    path = tmp_path / "load.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (values, answer)))
    windows = read(path)
    assert [window.name for window in windows] == ["1", "p r1", "q"]
    assert all(window.load.counts.tolist() == COUNTS.tolist() for window in windows)
    assert all(window.load.placement.ranks == 2 for window in windows)


def test_other_ranks(tmp_path: Path) -> None:
    """Who asks about other ranks gets the experts in order on them."""
    path = tmp_path / "load.jsonl"
    path.write_text(json.dumps({"counts": COUNTS.tolist(), "slots": [[3, 2, 1, 0]] * 2, "ranks": 2}))
    (window,) = read(path, ranks=4)
    assert window.load.placement.physical_to_logical.tolist() == [[0, 1, 2, 3]] * 2
    assert window.load.placement.ranks == 4


@pytest.mark.parametrize(("saved", "names"), [(COUNTS, ["0"]), (np.array([COUNTS] * 2), ["0", "1"])])
def test_arrays(saved: Any, names: list[str], tmp_path: Path) -> None:
    """One array of counts, or one a window; by itself, or with ranks and slots."""
    np.save(tmp_path / "load.npy", saved)
    np.savez(tmp_path / "load.npz", counts=saved, ranks=2, slots=np.array([[3, 2, 1, 0]] * 2))
    plain, full = read(tmp_path / "load.npy"), read(tmp_path / "load.npz")
    assert [window.name for window in plain] == [window.name for window in full] == names
    assert all(window.load.counts.tolist() == COUNTS.tolist() for window in plain + full)
    assert [window.load.placement.ranks for window in (plain[0], full[0])] == [1, 2]
    assert full[0].load.placement.physical_to_logical.tolist() == [[3, 2, 1, 0]] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "load.jsonl: no window in it"),
        ("{", "load.jsonl, line 1: Expecting property name"),
        ('{"counts": [[1]]}\n[]', "load.jsonl, line 2: an object with counts"),
        ('{"counts": [[1]]}\n{"counts": [[1, 2]]}', r"window 2 has counts \(1, 2\), the first one \(1, 1\)"),
        ('{"data": []}', "load.jsonl: no window in it"),
        ('{"data": 3}', "load.jsonl, line 1: data must be a list"),
    ],
)
def test_lines_that_are_none(text: str, message: str, tmp_path: Path) -> None:
    """The file, the line, and what is wrong with it."""
    path = tmp_path / "load.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    """A file that is not there, one that is no array, and arrays of other names and shapes."""
    with pytest.raises(ValueError, match="No such file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "text.npy").write_text("counts")
    with pytest.raises(ValueError, match=r"text\.npy: "):
        read(tmp_path / "text.npy")
    np.savez(tmp_path / "other.npz", load=COUNTS)
    with pytest.raises(ValueError, match="holds load, not counts"):
        read(tmp_path / "other.npz")
    np.save(tmp_path / "flat.npy", COUNTS[0])
    with pytest.raises(ValueError, match="counts must be rows"):
        read(tmp_path / "flat.npy")
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match=r"empty\.npy: "):
        read(tmp_path / "empty.npy")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"broken\.npz: "):
        read(tmp_path / "broken.npz")
    np.savez(tmp_path / "ranks.npz", counts=COUNTS, ranks=[1, 2])
    with pytest.raises(ValueError, match=r"ranks=\[1, 2\] must be a whole number"):
        read(tmp_path / "ranks.npz")
