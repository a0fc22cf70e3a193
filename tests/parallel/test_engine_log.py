"""The last words of an engine's log, and the first error in it."""

import subprocess
import sys
from pathlib import Path

import pytest

from parallel.engine_log import MAX_CHARS, TAIL_BYTES, first_error, last_words


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


FAILED = """\
(EngineCore pid=7) INFO 11-29 16:29:58 [core.py:114] Initializing a V1 LLM engine
(EngineCore pid=7) WARNING 11-29 16:29:59 [importing.py:83] ImportError: no such backend
(Worker_TP1 pid=8) ERROR 11-29 16:30:00 [multiproc_executor.py:1055] Traceback (most recent call last):
(Worker_TP1 pid=8) ERROR 11-29 16:30:00 [multiproc_executor.py:1055]     raise ValueError(
(Worker_TP1 pid=8) ERROR 11-29 16:30:00 [multiproc_executor.py:1055] torch.OutOfMemoryError: out of memory
(EngineCore pid=7) ERROR 11-29 16:30:00 [core.py:1374] RuntimeError: Worker failed with error 'CUDA out'
"""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (FAILED, "torch.OutOfMemoryError: out of memory"),
        (FAILED.partition("(Worker")[0], ""),
        ("Loading: 50%\r(Worker pid=8) ERROR 1 2 [a.py:1] KeyError: 'x'\r", "KeyError: 'x'"),
        ("RuntimeError: Engine core initialization failed. See root cause above.\n", ""),
        ("", ""),
    ],
)
def test_the_first_error_is_what_the_others_follow_from(text: str, error: str) -> None:
    """What a process of the engine's logs as an error; warnings, and what this process raises, are none."""
    assert first_error(text) == error


PROCESS = """
import subprocess, sys
from parallel.engine_log import Output
print("(Worker pid=1) ERROR 1 2 [a.py:1] ValueError: of an earlier start", flush=True)
output = Output.from_now_on()
assert output.first_error() == ""
subprocess.run(["echo", "(Worker pid=2) ERROR 1 2 [a.py:1] ValueError: of this one"])
print(output.first_error(), file=open(sys.argv[1], "w"))
"""


def test_only_what_is_written_from_now_on_counts(tmp_path: Path) -> None:
    """By this process and those that it starts, wherever that goes."""
    found = tmp_path / "found"
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-c", PROCESS, str(found)]
        subprocess.run(command, stdout=log, stderr=subprocess.DEVNULL, check=True)
    assert found.read_text() == "ValueError: of this one\n"
