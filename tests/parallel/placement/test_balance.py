"""Is balancedness what it says, and does no placement get below the lower bound?"""

from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel.placement import Placement, balancedness, initial, lower_bound, rank_loads
from parallel.placement.maps import Floats


def test_replicas_share_the_load_of_their_expert() -> None:
    """Expert 0 has a replica on ranks 0 and 2, of which each takes half."""
    at = initial(layers=1, num_experts=4, ranks=3, redundant=2)
    load = np.array([[6.0, 2.0, 1.0, 4.0]])
    assert rank_loads(load, at).tolist() == [[4.0, 5.0, 4.0]]
    assert balancedness(load, at).tolist() == pytest.approx([13 / 3 / 5])


def test_without_load_nobody_waits() -> None:
    """A layer that no token has passed is balanced."""
    assert balancedness(np.zeros((1, 4)), initial(1, 4, ranks=2)).tolist() == [1.0]


def best_by_trial(load: Floats, ranks: int, redundant: int) -> float:
    """The lightest fullest rank of all placements there are of one layer's load [experts]."""
    experts = len(load)
    best = np.inf
    for extra in combinations_with_replacement(range(experts), redundant):
        for slots in set(permutations((*range(experts), *extra))):
            placement = Placement(np.array([slots]), experts, ranks)
            best = min(best, rank_loads(load[None], placement).max())
    return best


@settings(max_examples=25)
@given(
    st.sampled_from([(4, 2, 0), (6, 2, 0), (6, 3, 0), (3, 2, 1), (4, 3, 2), (5, 2, 1), (2, 2, 2)]),
    st.lists(st.integers(0, 30), min_size=6, max_size=6),
)
def test_no_placement_is_below_the_bound(size: tuple[int, int, int], loads: list[int]) -> None:
    """All placements of small layers, tried one by one."""
    experts, ranks, redundant = size
    load = np.array(loads[:experts], dtype=np.float64)
    bound = lower_bound(load[None], ranks, redundant)[0]
    assert bound <= best_by_trial(load, ranks, redundant) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("load", "ranks", "redundant", "bound"),
    [
        ([1, 1, 1, 1], 2, 0, 2.0),  # the mean
        ([8, 1, 1, 0], 2, 0, 8.0),  # the heaviest expert, and the lightest beside it
        ([8, 1, 1, 2], 2, 0, 9.0),
        ([5, 5, 5, 0], 2, 0, 10.0),  # three heavy ones on two ranks
        ([12, 1, 1, 1], 3, 2, 5.0),  # the mean: the heavy one has room for three replicas
        ([12, 12, 0, 0, 0], 3, 1, 12.0),  # there is a second replica for one of the two only
    ],
)
def test_the_bound_knows(load: list[float], ranks: int, redundant: int, bound: float) -> None:
    """Each of the reasons for it, where it is the one that counts."""
    known = lower_bound(np.array([load], dtype=np.float64), ranks, redundant)
    assert known.tolist() == [bound]
