"""Does what is in place stay there?"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parallel.placement.keeping import adjust, complete, name_ranks, name_slots, relieve
from parallel.placement.packing import replicate


@given(st.integers(0, 10**6))
def test_renamed_ranks_get_their_names_back(seed: int) -> None:
    """Ranks with the experts of others, and shuffled slots, end where they were."""
    rng = np.random.default_rng(seed)
    current = rng.permuted(np.tile(np.arange(20), (3, 1)), axis=1).reshape(3, 5, 4)
    shuffled = rng.permuted(current[:, rng.permutation(5)], axis=2)
    named = name_ranks(shuffled, current, num_experts=20)
    assert name_slots(named, current).tolist() == current.tolist()


def test_pairs_are_exchanged_where_the_most_in_common_misleads() -> None:
    """New rank 0 has most in common with old rank 0, but the other way round two more stay."""
    current = np.array([[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]])
    packed = np.array([[[0, 1, 2, 6, 7, 12], [3, 4, 13, 14, 15, 16]]])
    named = name_ranks(packed, current, num_experts=17)
    assert named[0].tolist() == [[3, 4, 13, 14, 15, 16], [0, 1, 2, 6, 7, 12]]


def test_slots_of_what_stays_are_kept() -> None:
    """Also of the second replica on a rank, and beside a slot that was empty."""
    current = np.array([[[4, 7, 4, -1], [1, 2, 3, 0]]])
    packed = np.array([[[9, 4, 5, 4], [0, 8, 3, 1]]])
    assert name_slots(packed, current).tolist() == [[[4, 9, 4, 5], [1, 8, 3, 0]]]


def test_counts_are_completed_with_few_changes() -> None:
    """Every expert gets a slot; others lose one where it burdens least, or get one where it helps most."""
    load = np.array([[8.0, 1.0, 3.0], [8.0, 1.0, 3.0], [8.0, 1.0, 3.0]])
    counts = np.array([[2, 2, 0], [1, 1, 1], [2, 1, 1]])
    assert complete(counts, load, slots=4, most=3).tolist() == [[2, 1, 1], [2, 1, 1], [2, 1, 1]]


@given(st.integers(0, 10**6))
def test_relieved_without_a_margin_is_as_good_as_from_nothing(seed: int) -> None:
    """The heaviest replica is as light as `replicate` makes it, from any counts."""
    rng = np.random.default_rng(seed)
    load = rng.exponential(size=(4, 10))
    counts = complete(rng.integers(0, 4, size=(4, 10)), load, slots=16, most=8)
    relieved = relieve(counts, load, most=8, margin=0.0)
    assert relieved.sum(axis=1).tolist() == [16] * 4
    best = (load / replicate(load, 16, most=8)).max(axis=1)
    np.testing.assert_allclose((load / relieved).max(axis=1), best, rtol=1e-9)


def test_a_margin_leaves_what_hardly_pays() -> None:
    """The slot would make the heaviest replica 5 % lighter."""
    load, counts = np.array([[20.0, 19.0 / 2, 19.0]]), np.array([[1, 1, 2]])
    assert relieve(counts, load, most=4, margin=0.1).tolist() == [[1, 1, 2]]
    assert relieve(counts, load, most=4, margin=0.0).tolist() == [[2, 1, 1]]


def test_a_surplus_replica_leaves_the_fullest_rank() -> None:
    """And the free slot takes the replica that is missing; nothing else moves."""
    current = np.array([[[0, 1], [0, 2], [3, 4]]])
    shares = np.array([[1.0, 5.0, 2.0, 3.0, 1.0]])
    wanted = np.array([[1, 1, 1, 2, 1]])
    assert adjust(current, wanted, shares).tolist() == [[[3, 1], [0, 2], [3, 4]]]


def test_empty_slots_are_filled_the_lightest_rank_first() -> None:
    """The heaviest replica first, and the second of an expert on a rank without it."""
    current = np.array([[[0, 1, -1], [2, -1, -1]]])
    shares = np.array([[4.0, 1.0, 3.0, 2.0]])
    assert adjust(current, np.array([[2, 1, 1, 2]]), shares).tolist() == [[[0, 1, 3], [2, 0, 3]]]
