"""Are collectives timed, and the bytes beside them those that the link carries?"""

import pytest

from parallel.__main__ import main
from parallel.bandwidth import Timing, table
from parallel.hardware import Link


def test_ranks_of_this_machine_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a collective and size; a token of 4096 elements on each of two ranks are 16 KiB."""
    assert main(["collectives", "--tokens", "1", "3", "--gpu", "H200"]) == 0
    heading, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert heading[:2] == ["collective", "bytes"]
    assert [line[0] for line in lines[:7]] == [line[0] for line in lines[7:]]
    assert {"all-gather", "reduce-scatter", "dispatch", "combine"} <= {line[0] for line in lines}
    assert {line[-5] for line in lines[:7]} == {"16384"}
    assert {line[-5] for line in lines[7:]} == {"49152"}
    assert all(float(line[-4]) > 0 for line in lines)


def test_bytes_are_those_on_the_link() -> None:
    """Of 8 GB over 4 ranks each sends three quarters once, and twice in an all-reduce."""
    timings = [Timing("all-reduce (torch)", 8 * 10**9, 1.0), Timing("dispatch", 8 * 10**9, 0.5)]
    lines = table(timings, 4, Link("slow", 24e9, 1.0)).splitlines()[1:]
    assert lines[0].split()[-3:] == ["12.000", "500000.0", "50.0%"]
    assert lines[1].split()[-3:] == ["12.000", "250000.0", "50.0%"]
    assert table(timings, 4, None).splitlines()[2].split()[-1] == "12.000"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--gpu", "Z80"], "Z80"),
        (["--ranks", "0"], "--ranks=0"),
        (["--tokens", "4", "0"], "--tokens=[4, 0]"),
    ],
)
def test_mistakes_are_named(capsys: pytest.CaptureFixture[str], options: list[str], named: str) -> None:
    """Before anything is measured."""
    assert main(["collectives", *options]) == 2
    assert named in capsys.readouterr().err
