"""The last words of an engine's log."""

from pathlib import Path

import pytest

from parallel.engine_log import MAX_CHARS, TAIL_BYTES, last_words


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ("\n\n(Worker pid=7) \n", ""),
        (
            "(EngineCore pid=7) INFO 11-28 15:10:46 [kernel.py:369] Final IR op priority\n",
            "Final IR op priority",
        ),
        (
            "(Worker_TP0 pid=7) Loading safetensors checkpoint shards:   0% Completed | 0/2\r"
            "(Worker_TP0 pid=7) Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:09<00:09]\r",
            "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:09<00:09]",
        ),
        ("x" * 2 * TAIL_BYTES, "x" * MAX_CHARS),
    ],
)
def test_last_words(tmp_path: Path, log: str, said: str) -> None:
    """The latest state of a bar, or the latest line without its prefix."""
    path = tmp_path / "log"
    path.write_text(log)
    assert last_words(path) == said


def test_no_log(tmp_path: Path) -> None:
    """Nothing has been said yet."""
    assert last_words(tmp_path / "log") == ""
