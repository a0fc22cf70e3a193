"""Do results outlast a run that is killed?"""

from pathlib import Path

import pytest

from parallel.results_file import read_lines, write_json


def test_write_json(tmp_path: Path) -> None:
    """A write that fails leaves the file as it was."""
    target = tmp_path / "tuning.json"
    write_json(target, {"a": 1})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    assert "1" in target.read_text()


def test_read_lines(tmp_path: Path) -> None:
    """Whole lines in order, without the one that was being written; nothing where there is no file."""
    file = tmp_path / "timings.jsonl"
    assert read_lines(file) == []
    file.write_text('{"a": 1}\n{"a": 2}\n{"a"')
    assert read_lines(file) == [{"a": 1}, {"a": 2}]
