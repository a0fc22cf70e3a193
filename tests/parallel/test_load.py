"""The load of experts in a window, and what is said of it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.load import ExpertLoad, Reading, Window, in_order, load_of, shares, total_variation
from parallel.placement.maps import Ints, Placement

SOME = np.array([[6, 2, 0, 0], [1, 1, 1, 1]])


def read(counts: Ints, slots: list[int] | None = None, ranks: int = 2) -> Reading:
    """A reading whose layers have their experts in `slots`, or in order."""
    if slots is None:
        return Reading(counts, in_order(counts, ranks))
    return Reading(counts, Placement(np.array([slots] * len(counts)), counts.shape[1], ranks))


def test_what_is_said_of_a_load() -> None:
    """Two ranks of two experts: the first one has all of one layer, and half of the other."""
    load = ExpertLoad(SOME, in_order(SOME, 2))
    assert load.balancedness.tolist() == [0.5, 1.0]
    assert load.hottest_share.tolist() == [0.75, 0.25]
    assert load.rank_shares.tolist() == pytest.approx([10 / 12, 2 / 12])


def test_the_placement_matters() -> None:
    """The same counts are more even where the two busy experts are on two ranks."""
    placement = Placement(np.array([[0, 2, 1, 3]] * 2), 4, 2)
    assert ExpertLoad(SOME, placement).balancedness.tolist() == [pytest.approx(4 / 6), 1.0]


def test_no_load_at_all() -> None:
    """An idle engine is balanced, and has no hottest expert."""
    load = ExpertLoad(idle := np.zeros((1, 4), np.int64), in_order(idle, 2))
    assert (load.balancedness.tolist(), load.hottest_share.tolist()) == ([1.0], [0.0])
    assert load.rank_shares.tolist() == [0.0, 0.0]


def test_a_window_forgets() -> None:
    """Only what was added since the oldest reading of the window counts."""
    window = Window(60)
    assert window.load() is None
    window.add(0, read(SOME))
    assert window.load() is None
    for now_s, factor in ((30, 2), (60, 3), (100, 10)):
        window.add(now_s, read(factor * SOME))
    load = window.load()
    assert load is not None
    assert (load.window_s, load.counts.tolist()) == (70, (8 * SOME).tolist())


def test_a_slow_reader_still_has_a_window() -> None:
    """Readings further apart than the window are compared with the one before."""
    window = Window(60)
    for now_s in (0, 100, 300):
        window.add(now_s, read(SOME * now_s))
    load = window.load()
    assert load is not None
    assert (load.window_s, load.counts.tolist()) == (200, (200 * SOME).tolist())


def test_counts_that_shrink_are_a_new_engines() -> None:
    """What an earlier engine counted is not subtracted from the new one's."""
    window = Window(60)
    window.add(0, read(10 * SOME))
    window.add(10, read(SOME))
    assert window.load() is None
    window.add(20, read(3 * SOME))
    load = window.load()
    assert load is not None
    assert load.counts.tolist() == (2 * SOME).tolist()


def test_rearrangements_are_seen() -> None:
    """Experts in other places than at the reading before are a rearrangement; other slots of a rank not."""
    window = Window(60)
    for now_s, slots in enumerate(([0, 1, 2, 3], [1, 0, 2, 3], [0, 2, 1, 3], [0, 2, 1, 3])):
        window.add(now_s, read(SOME * now_s, slots))
    load = window.load()
    assert load is not None
    assert (load.rearrangements, load.experts_moved) == (1, 4)  # two experts in each of two layers


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=3),
    st.sampled_from([1, 2, 4]),
)
def test_values_and_back(counts: list[list[int]], ranks: int) -> None:
    """Plain values hold the load; shares and balancedness are shares."""
    load = ExpertLoad(np.array(counts), in_order(np.array(counts), ranks), 60.0)
    again = load_of(load.values())
    assert again.counts.tolist() == counts
    assert again.placement.physical_to_logical.tolist() == load.placement.physical_to_logical.tolist()
    assert (again.placement.ranks, again.window_s) == (ranks, 60.0)
    assert ((again.balancedness > 0) & (again.balancedness <= 1)).all()
    assert again.rank_shares.sum() == pytest.approx(1.0 if np.any(counts) else 0.0)


@given(
    st.lists(st.integers(0, 50), min_size=3, max_size=3), st.lists(st.integers(1, 50), min_size=3, max_size=3)
)
def test_total_variation(one: list[int], other: list[int]) -> None:
    """A distance of shares: 0 to oneself and to any multiple, the same both ways, at most 1."""
    first, second = np.array([one]), np.array([other])
    assert total_variation(second, 3 * second)[0] == pytest.approx(0)
    assert total_variation(first, second)[0] == pytest.approx(total_variation(second, first)[0])
    assert 0 <= total_variation(first, second)[0] <= 1 + 1e-12


def test_nothing_in_common() -> None:
    """Two loads without a common expert are as far apart as can be."""
    assert total_variation(np.array([[3, 0]]), np.array([[0, 1]])).tolist() == [1.0]
    assert shares(np.array([[0, 0], [1, 3]])).tolist() == [[0, 0], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], r"an object with counts \[layers, experts\] is needed"),
        ({}, r"an object with counts"),
        ({"counts": [[1], [1, 2]]}, "counts must be rows of equal length of whole numbers"),
        ({"counts": [[0.5, 1]]}, "counts must be rows of equal length of whole numbers"),
        ({"counts": [["a", "b"]]}, "counts must be rows of equal length of whole numbers"),
        ({"counts": [[-1, 1]]}, "counts must not be negative, and one is -1"),
        ({"counts": [[1, 2, 3]], "ranks": 2}, "slots of shape .* cannot be divided over ranks=2"),
        (
            {"counts": [[1, 2]], "slots": [[0, 1]] * 2},
            r"counts are for \(1, 2\) .* the placement for \(2, 2\)",
        ),
        ({"counts": [[1, 2]], "slots": [[0, 0]]}, "expert 1 of layer 0 has no slot"),
        ({"counts": [[1, 2]], "ranks": "x"}, "ranks='x' must be a whole number"),
        ({"counts": [[1, 2]], "ranks": True}, "ranks=True must be a whole number"),
        ({"counts": [[1, 2]], "window_s": None}, "window_s=None must be a number"),
    ],
)
def test_what_is_no_load(values: Any, message: str) -> None:
    """The field, and what it is."""
    with pytest.raises(ValueError, match=message):
        load_of(values)
