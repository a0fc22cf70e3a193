"""Do the three maps of a placement say the same, and is what must move counted as ranks would move it?"""

import numpy as np
import pytest

from parallel.placement import Placement, experts_moved, initial

TWO_LAYERS = Placement(np.array([[0, 1, 2, 3, 0, 1], [0, 2, 0, 1, 0, 3]]), num_experts=4, ranks=3)


def test_experts_know_their_slots() -> None:
    """The slots of each expert in ascending order, filled up with -1 to the most replicas of any."""
    assert TWO_LAYERS.logical_to_physical.tolist() == [
        [[0, 4, -1], [1, 5, -1], [2, -1, -1], [3, -1, -1]],
        [[0, 2, 4], [3, -1, -1], [1, -1, -1], [5, -1, -1]],
    ]


def test_replicas_are_counted() -> None:
    """A count a layer and expert."""
    assert TWO_LAYERS.replicas.tolist() == [[2, 2, 1, 1], [3, 1, 1, 1]]


def test_vllm_starts_in_order() -> None:
    """All experts, and then the first ones again."""
    assert initial(layers=2, num_experts=4, ranks=3, redundant=2).physical_to_logical.tolist() == [
        [0, 1, 2, 3, 0, 1],
        [0, 1, 2, 3, 0, 1],
    ]


@pytest.mark.parametrize(
    ("slots", "ranks", "complaint"),
    [
        ([[0, 1, 2]], 2, r"slots of shape \(1, 3\) cannot be divided over ranks=2"),
        ([[0, 1, 2, 3]], 2, r"experts must be in 0\.\.2"),
        ([[0, 1, 2, -1]], 2, r"experts must be in 0\.\.2"),
        ([[0, 1, 2, 0], [0, 1, 1, 0]], 2, "expert 2 of layer 1 has no slot"),
    ],
)
def test_what_is_no_placement_is_refused(slots: list[list[int]], ranks: int, complaint: str) -> None:
    """With the numbers that do not fit."""
    with pytest.raises(ValueError, match=complaint):
        Placement(np.array(slots), num_experts=3, ranks=ranks)


@pytest.mark.parametrize(
    ("new", "moved"),
    [
        ([0, 1, 2, 3, 0, 1], 0),
        ([1, 0, 3, 2, 1, 0], 0),  # within ranks
        ([2, 3, 0, 1, 0, 1], 4),  # two ranks have changed places
        ([0, 1, 2, 3, 2, 2], 1),  # comes once, and is copied there
        ([0, 0, 2, 3, 0, 1], 0),  # is copied from the next slot
    ],
)
def test_an_expert_moves_when_a_rank_gets_what_it_had_not(new: list[int], moved: int) -> None:
    """Only what comes from another rank counts."""
    old = initial(layers=1, num_experts=4, ranks=3, redundant=2)
    assert experts_moved(old, Placement(np.array([new]), 4, ranks=3)).tolist() == [moved]


def test_placements_of_different_sizes_are_not_compared() -> None:
    """Ranks that came or went have no counterpart."""
    with pytest.raises(ValueError, match="are different sizes"):
        experts_moved(initial(1, 4, ranks=2), initial(1, 4, ranks=4))
