"""The ends of a command."""

import subprocess
import sys

import pytest

from parallel import program

SPEAK = "import sys; from parallel import program; program.run(lambda: print('x' * {size}) or 3)"


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_nobody_reads_it(size: int) -> None:
    """Neither a short nor a long output becomes a traceback."""
    process = subprocess.Popen(
        [sys.executable, "-c", SPEAK.format(size=size)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, b"")


def test_its_status_is_the_programs() -> None:
    """Whatever it is."""
    with pytest.raises(SystemExit) as ended:
        program.run(lambda: 2)
    assert ended.value.code == 2
