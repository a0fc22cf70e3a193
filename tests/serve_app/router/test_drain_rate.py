"""The drain rate, and when to come back by it."""

import pytest

from serve_app.router.drain_rate import LONGEST_S, UNKNOWN_S, DrainRate


def drained(per_s: float, for_s: float) -> DrainRate:
    """Return one that has seen requests end at that rate."""
    rate = DrainRate()
    for i in range(round(per_s * for_s)):
        rate.note(i / per_s)
    return rate


@pytest.mark.parametrize("for_s", [3.0, 60.0])
def test_a_steady_rate(for_s: float) -> None:
    """It is known soon, and stays."""
    assert drained(4.0, for_s).per_s(for_s) == pytest.approx(4.0, rel=0.1)


def test_it_fades() -> None:
    """What ended long ago says little about now."""
    rate = drained(4.0, 60.0)
    assert rate.per_s(90.0) < 0.3


@pytest.mark.parametrize(("num_before", "wanted_s"), [(0, 1), (7, 2), (39, 10), (10_000, LONGEST_S)], ids=str)
def test_retry_after(num_before: int, wanted_s: int) -> None:
    """As long as those before it and itself take at four a second, up, within its bounds."""
    rate = DrainRate()
    for i in range(400):
        rate.note(i / 4)
    assert rate.retry_after_s(num_before, 100.0) == pytest.approx(wanted_s, abs=1)


def test_nothing_has_ended() -> None:
    """Then nobody knows."""
    assert DrainRate().retry_after_s(3, 0.0) == UNKNOWN_S


def test_one_that_has_ended_tells_no_rate() -> None:
    """A millisecond after it, a thousand a second would come of it."""
    rate = DrainRate()
    rate.note(100.0)
    assert (rate.per_s(100.001), rate.retry_after_s(999, 100.001)) == (0.0, UNKNOWN_S)
    rate.note(100.5)
    assert rate.per_s(100.5) == pytest.approx(2.0, rel=0.05)
