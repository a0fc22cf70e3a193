"""Do hot experts get the further slots, and are ranks filled evenly?"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from parallel.placement.packing import fullest, improve, pack, replicate


def test_further_slots_go_to_the_most_load_a_slot() -> None:
    """Two problems at once: the first has one hot expert, the second two."""
    load = np.array([[9.0, 1.0, 2.0], [6.0, 5.0, 0.0]])
    assert replicate(load, slots=6, most=4).tolist() == [[4, 1, 1], [3, 2, 1]]


def test_no_expert_gets_more_slots_than_it_may() -> None:
    """A third replica of the hot one would share a rank with another."""
    assert replicate(np.array([[90.0, 1.0, 2.0]]), slots=5, most=2).tolist() == [[2, 1, 2]]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=4), st.integers(0, 4))
def test_the_heaviest_replica_is_as_light_as_can_be(loads: list[int], further: int) -> None:
    """Of all divisions of the slots."""
    load = np.array([loads], dtype=np.float64)
    slots = len(loads) + further
    divisions = [
        counts for counts in np.ndindex(*[slots + 1] * len(loads)) if sum(counts) == slots and min(counts) > 0
    ]
    best = min((load[0] / np.array(counts)).max() for counts in divisions)
    assert (load / replicate(load, slots, most=slots)).max() == best


def test_ranks_are_filled_with_the_heaviest_first() -> None:
    """8 | 7, then 5 beside 7 and 4 beside 8, and the lightest rank has no slot left for the last."""
    packed = pack(np.array([[8.0, 7.0, 5.0, 4.0]]), np.ones((1, 4), dtype=np.int64), ranks=2)
    assert packed.tolist() == [[[0, 3], [1, 2]]]
    packed = pack(np.array([[9.0, 1.0, 1.0, 1.0]]), np.ones((1, 4), dtype=np.int64), ranks=2)
    assert packed.tolist() == [[[0, 3], [1, 2]]]


def test_exchanges_even_out_what_packing_could_not() -> None:
    """The one exchange that is needed is found; the second problem is left, having reached its target."""
    packed = np.array([[[0, 1], [2, 3]], [[0, 1], [2, 3]]])
    shares = np.array([[5.0, 4.0, 2.0, 1.0], [5.0, 4.0, 2.0, 1.0]])
    improve(packed, shares, target=np.array([6.0, 9.0]))
    assert fullest(packed, shares).tolist() == [6.0, 9.0]
    assert sorted(map(sorted, packed[0].tolist())) == [[0, 3], [1, 2]]
    assert packed[1].tolist() == [[0, 1], [2, 3]]


@given(st.integers(0, 10**6), st.sampled_from([(1, 4), (2, 3), (5, 2), (4, 1)]))
def test_exchanges_only_ever_help(seed: int, size: tuple[int, int]) -> None:
    """They end, no rank is then fuller than the fullest was, and the same replicas are there."""
    ranks, a_rank = size
    rng = np.random.default_rng(seed)
    load = rng.exponential(size=(3, ranks * a_rank))
    packed = rng.permuted(np.tile(np.arange(ranks * a_rank), (3, 1)), axis=1).reshape(3, ranks, a_rank)
    before = fullest(packed, load)
    improve(packed, load, target=np.zeros(3))
    assert (fullest(packed, load) <= before * (1 + 1e-12)).all()
    assert np.sort(packed.reshape(3, -1)).tolist() == [list(range(ranks * a_rank))] * 3
