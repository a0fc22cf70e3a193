"""What a phase under strain adds up to: nothing may be lost, and a lost request does not hide."""

import pytest

from tests.bench.outcomes import Outcome
from tests.bench.strain import Phase, table

ANSWERED = Outcome("none", 0.0, 0.0, 2.0, 8, 8, 0.25, 2.0, 8, "throughput")
REFUSED = Outcome("none", 0.0, 0.0, 0.1, 8, error="503: full", code="queue_full")
BROKEN = Outcome("high", 0.0, 0.0, 1.0, 8, 3, 0.5, 1.0, 3, "latency", "it died", "replica_lost")
LOST = Outcome("high", 0.0, 0.0, 1.0, 8, error="the stream broke off")
GIVEN_UP = Outcome("none", 0.0, 0.0, 9.0, 8, error="TimeoutError: ")


@pytest.mark.parametrize(
    ("outcomes", "flood", "num_lost"),
    [
        ([ANSWERED, REFUSED, BROKEN], [REFUSED], 0),
        ([ANSWERED, LOST], [], 1),
        ([GIVEN_UP], [], 1),
        ([ANSWERED], [GIVEN_UP, LOST], 1),
    ],
)
def test_what_is_lost(outcomes: list[Outcome], flood: list[Outcome], num_lost: int) -> None:
    """An error with a code is an answer; only the flood's clients may be stopped in the middle of theirs."""
    assert Phase("wave", outcomes, flood).num_lost == num_lost


def test_table() -> None:
    """A row a phase, what was done when, and what became of the flood."""
    wave = Phase("wave", [ANSWERED, REFUSED, BROKEN, LOST])
    flood = Phase("flood", [ANSWERED], [REFUSED, REFUSED], ["3.0 s: it began"])
    lines = table([wave, flood]).splitlines()
    assert (
        lines[2]
        == "| wave | 4 | 1 | 1 | 1 | 1 | 250 / 250 ms | - | high -> latency 1, none -> throughput 1 |"
    )
    assert lines[4:] == ["flood: 3.0 s: it began", "flood: of the flood's requests {'refused': 2}"]
