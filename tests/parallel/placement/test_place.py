"""Does `place` give every layer a placement, and does it move no more than it must?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.placement import (
    FINE,
    Placement,
    balancedness,
    experts_moved,
    initial,
    lower_bound,
    place,
    rank_loads,
)
from parallel.placement.maps import Floats
from tests.bench.expert_loads import KINDS, counts

SIZES = [
    # experts, ranks, redundant, nodes, groups
    (8, 1, 0, 1, None),
    (8, 4, 0, 1, None),
    (12, 3, 6, 1, 4),
    (8, 8, 8, 2, None),
    (16, 4, 8, 2, 4),
    (16, 8, 16, 4, 8),
    (6, 6, 30, 1, None),
]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Floats, dict[str, Any]]:
    """A load, sparse or not, and the other arguments, with a current placement of any kind or without."""
    experts, ranks, redundant, nodes, groups = draw(st.sampled_from(SIZES))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    layers = draw(st.integers(1, 3))
    load = rng.exponential(size=(layers, experts)) ** draw(st.sampled_from([0, 1, 4]))
    load *= rng.random((layers, experts)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    slots = (layers, experts + redundant)
    current = draw(st.sampled_from([None, rng.integers(-1, experts, size=slots), np.full(slots, -1)]))
    tolerance = draw(st.sampled_from([0.0, 0.05]))
    return load, {
        "ranks": ranks,
        "redundant": redundant,
        "nodes": nodes,
        "groups": groups,
        "current": current,
        "tolerance": tolerance,
    }


@given(problems())
def test_every_expert_has_a_slot_and_every_answer_is_the_same(problem: tuple[Floats, dict[str, Any]]) -> None:
    """`Placement` has checked the slots; each rank asks by itself, and must hear what the others do."""
    load, arguments = problem
    placement = place(load, **arguments)
    assert placement.physical_to_logical.shape == (len(load), load.shape[1] + arguments["redundant"])
    assert placement.replicas.min() >= 1
    assert placement.replicas.sum(axis=1).tolist() == [load.shape[1] + arguments["redundant"]] * len(load)
    assert (place(load, **arguments).physical_to_logical == placement.physical_to_logical).all()


@given(problems())
def test_no_rank_is_below_the_bound(problem: tuple[Floats, dict[str, Any]]) -> None:
    """Which is the same with and without groups."""
    load, arguments = problem
    fullest = rank_loads(load, place(load, **arguments)).max(axis=1)
    bound = lower_bound(load, arguments["ranks"], arguments["redundant"])
    assert (fullest >= bound * (1 - 1e-9)).all()


@given(problems())
def test_groups_stay_whole_on_a_node_each(problem: tuple[Floats, dict[str, Any]]) -> None:
    """All replicas of a group's experts, and as many groups on each node."""
    load, arguments = problem
    nodes, groups = arguments["nodes"], arguments["groups"]
    if groups is None or nodes == 1:
        return
    placed = place(load, **arguments).physical_to_logical
    by_node = placed.reshape(len(load), nodes, -1) // (load.shape[1] // groups)
    for layer in by_node:
        on_node = [set(node.tolist()) for node in layer]
        assert [len(there) for there in on_node] == [groups // nodes] * nodes
        assert set().union(*on_node) == set(range(groups))


@given(problems())
def test_what_has_been_placed_is_left_alone(problem: tuple[Floats, dict[str, Any]]) -> None:
    """Asked again with the same load, it moves nothing, not even between the slots of a rank."""
    load, arguments = problem
    placed = place(load, **arguments)
    again = place(load, **arguments | {"current": placed.physical_to_logical})
    assert experts_moved(placed, again).tolist() == [0] * len(load)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ranks", "redundant"), [(8, 16), (4, 0), (32, 32)])
def test_the_current_placement_costs_no_balancedness(kind: str, ranks: int, redundant: int) -> None:
    """As good as from nothing, or as good as the tolerance asks, and then with fewer experts moved."""
    load = counts(kind, seed=7, windows=2, layers=6, experts=128)[0]
    start = initial(6, 128, ranks, redundant)
    fresh = place(load, ranks=ranks, redundant=redundant)
    moved = []
    for tolerance in (0.0, 0.02):
        placed = place(
            load,
            ranks=ranks,
            redundant=redundant,
            current=start.physical_to_logical,
            tolerance=tolerance,
        )
        least = balancedness(load, fresh) / (1 + max(tolerance, FINE))
        assert (balancedness(load, placed) >= least * (1 - 1e-9)).all()
        moved.append(experts_moved(start, placed).sum())
    assert moved[1] < moved[0] < experts_moved(start, fresh).sum()


def test_layers_without_load_are_left_alone() -> None:
    """As vLLM asks for them before the first token: a profile run moves nothing."""
    start = initial(2, 8, ranks=4, redundant=4)
    load = np.zeros((2, 8))
    placed = place(load, ranks=4, redundant=4, current=start.physical_to_logical)
    assert placed.physical_to_logical.tolist() == start.physical_to_logical.tolist()


def test_without_load_or_placement_experts_share_slots_alike() -> None:
    """No expert has two slots more than another."""
    assert place(np.zeros((1, 8)), ranks=4, redundant=4).replicas.max() == 2


def test_ranks_that_have_joined_are_filled() -> None:
    """The others keep what they have, as long as that is even enough."""
    load = np.ones((1, 8))
    current = np.array([[0, 1, 2, 3, 4, 5, 6, 7, -1, -1, -1, -1]])
    placed = place(load, ranks=3, redundant=4, current=current, tolerance=0.5)
    assert placed.physical_to_logical[0, :8].tolist() == current[0, :8].tolist()
    assert len(set(placed.physical_to_logical[0, 8:].tolist())) == 4


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"load": np.ones(8)}, r"load has shape \(8,\), not \[layers, experts\]"),
        ({"load": np.full((1, 8), np.nan)}, "load must be finite and not negative"),
        ({"load": np.full((1, 8), -1.0)}, "load must be finite and not negative"),
        ({"ranks": 3}, "8 experts and redundant=0 cannot be divided over ranks=3"),
        ({"nodes": 4}, "nodes=4 does not divide ranks=2"),
        ({"groups": 3}, "groups=3 must divide 8 experts, and nodes=1 groups"),
        ({"groups": 1, "nodes": 2}, "groups=1 must divide 8 experts, and nodes=2 groups"),
        ({"redundant": 10}, "redundant=10 makes 9 slots a rank for 8 experts"),
        ({"redundant": 4, "groups": 2, "nodes": 2}, "redundant=4 makes 6 slots a rank for 4 experts"),
        ({"tolerance": -0.1}, "tolerance=-0.1 must be finite and not negative"),
        ({"current": np.zeros((1, 4))}, r"current has shape \(1, 4\), not \(1, 8\)"),
        ({"current": np.full((1, 8), 8)}, r"current must hold experts 0\.\.7, or -1"),
    ],
)
def test_what_cannot_be_placed_is_refused(changes: dict[str, Any], complaint: str) -> None:
    """With the numbers that do not fit together."""
    arguments: dict[str, Any] = {"load": np.ones((1, 8)), "ranks": 2} | changes
    with pytest.raises(ValueError, match=complaint):
        place(arguments.pop("load"), **arguments)


def test_a_placement_is_as_vllm_lays_it_out() -> None:
    """[layers, slots] of int64."""
    placed = place(np.ones((2, 8)), ranks=2)
    assert isinstance(placed, Placement)
    assert placed.physical_to_logical.dtype == np.int64
    assert placed.physical_to_logical.flags.c_contiguous
