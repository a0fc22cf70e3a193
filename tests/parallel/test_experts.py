"""Distinct experts and the busiest rank, against closed forms, enumeration and each other."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.experts import busiest_rank, distinct_experts

COUNTS = st.floats(min_value=0, max_value=1e5)
SHARES = st.floats(min_value=0, max_value=1)


@pytest.mark.parametrize(
    ("num_tokens", "expected"), [(0, 0.0), (1, 4.0), (4, 15.26), (32, 81.7), (128, 125.8), (10_000, 128.0)]
)
def test_distinct_experts_of_128(num_tokens: int, expected: float) -> None:
    """Four of 128 a token: a handful of tokens touch experts of their own, a hundred nearly all."""
    assert distinct_experts(128, 4, num_tokens) == pytest.approx(expected, abs=0.05)


def test_distinct_experts_by_enumeration() -> None:
    """Two tokens that choose 2 of 4 experts: the mean over all pairs of choices."""
    choices = list(itertools.combinations(range(4), 2))
    used = [len({*one, *other}) for one in choices for other in choices]
    assert distinct_experts(4, 2, 2) == pytest.approx(sum(used) / len(used))


def test_correlation_runs_from_independent_to_one_token() -> None:
    """A batch that agrees needs one token's experts."""
    assert distinct_experts(128, 4, 500, correlation=1) == pytest.approx(4)
    with pytest.raises(ValueError, match=r"correlation=1.5 must be from 0 to 1"):
        distinct_experts(128, 4, 2, correlation=1.5)


@given(fewer=COUNTS, more=COUNTS, less_alike=SHARES, alike=SHARES)
def test_distinct_experts_are_monotone(fewer: float, more: float, less_alike: float, alike: float) -> None:
    """More tokens touch no fewer experts, more alike ones no more, and never more than there are."""
    fewer, more = sorted((fewer, more))
    less_alike, alike = sorted((less_alike, alike))
    assert distinct_experts(128, 4, fewer, alike) <= distinct_experts(128, 4, more, alike) <= 128
    assert distinct_experts(128, 4, more, alike) <= distinct_experts(128, 4, more, less_alike) + 1e-9


def test_busiest_of_two_ranks() -> None:
    """Four experts of one token on two ranks: 2.75 on the busier one, by counting; the estimate is close."""
    halves = [max(sum(sides), 4 - sum(sides)) for sides in itertools.product((0, 1), repeat=4)]
    exact = sum(halves) / len(halves)
    assert exact == 2.75
    assert busiest_rank(4, 2, most=64) == pytest.approx(exact, rel=0.03)


@given(fewer=st.floats(0, 128), more=st.floats(0, 128), num_ranks=st.sampled_from([1, 2, 4, 8, 16]))
def test_busiest_rank_is_monotone_and_bounded(fewer: float, more: float, num_ranks: int) -> None:
    """More experts in use mean no less work for the busiest rank; at least the mean, at most its places."""
    fewer, more = sorted((fewer, more))
    most = 128 / num_ranks
    assert busiest_rank(fewer, num_ranks, most) <= busiest_rank(more, num_ranks, most) + 1e-9
    assert more / num_ranks <= busiest_rank(more, num_ranks, most) + 1e-9 <= most + 1e-8
