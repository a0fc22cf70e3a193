"""Arrival times by hand, and what they add up to."""

import pytest

from parallel.bench.streams import Stream, figures, together


def test_by_hand() -> None:
    """Two requests; both are decoded from 2 s, when the second one's first token comes, to 4 s."""
    first = Stream(0.0, [(1.0, 1), (2.0, 1), (3.0, 1), (4.0, 1)])
    second = Stream(0.5, [(2.0, 2), (3.0, 3), (4.0, 2), (5.0, 3)])
    found = figures([first, second])
    assert found.num_tokens == 14
    assert found.duration_s == 5.0
    assert found.total_tokens_per_s == pytest.approx(14 / 5)
    assert found.window_s == 2.0
    assert found.user_tokens_per_s == pytest.approx((1 + 1 + 3 + 2) / 2 / 2)
    assert found.tokens_a_step == pytest.approx(7 / 4)
    assert found.step_ms == pytest.approx(1000)
    assert found.first_token_s == pytest.approx(1.25)
    assert found.last_first_token_s == 1.5


def test_no_window() -> None:
    """One ends before the other begins: nothing is said of a speed that never was."""
    found = figures([Stream(0.0, [(1.0, 1), (2.0, 1)]), Stream(0.0, [(3.0, 1), (4.0, 1)])])
    assert (found.window_s, found.user_tokens_per_s, found.step_ms) == (0.0, 0.0, 0.0)
    assert found.total_tokens_per_s == 1.0


@pytest.mark.parametrize("streams", [[], [Stream(0.0)], [Stream(0.0, [(1.0, 1)]), Stream(0.0)]])
def test_no_answer(streams: list[Stream]) -> None:
    """Requests without an answer are not averaged away."""
    with pytest.raises(ValueError, match="have no answer"):
        figures(streams)


def test_together() -> None:
    """Replicas: tokens add up, the slowest says how long it took, means are weighted by requests."""
    fast = figures([Stream(0.0, [(1.0, 1), (2.0, 1), (3.0, 1)])])
    slow = figures([Stream(0.0, [(1.0, 1), (3.0, 1), (5.0, 1)])] * 3)
    both = together([fast, slow])
    assert both.requests == 4
    assert both.total_tokens_per_s == pytest.approx(12 / 5)
    assert both.user_tokens_per_s == pytest.approx((1 * 1.0 + 3 * 0.5) / 4)
    assert together([slow]) == slow
