"""Where should each expert be, given how much each is used and where they are now?

`place` answers it for all layers at once: first the fullest rank of each layer as light as possible, then as
few experts moved as possible. Plain arithmetic: no clock, no chance, no communication, so that every rank
that asks with the same numbers gets the same answer, which vLLM relies on.
"""

import numpy as np

from parallel.placement import keeping, packing
from parallel.placement.balance import balancedness, lower_bound, rank_loads
from parallel.placement.maps import EMPTY, Floats, Ints, Placement, arrivals, count, experts_moved, initial

__all__ = ["Placement", "balancedness", "experts_moved", "initial", "lower_bound", "place", "rank_loads"]

MARGIN = 0.1
"""How much lighter, relatively, the heaviest replicas must become for a slot to change its expert.

Measured (tests.bench.placement): without a margin, noise in the load moves replicas to and fro; with 0.02 to
0.4 about as few are moved. Never to move any would leave hot experts on one rank, and placements that are
worth less once the load has drifted on.
"""

FINE = 0.0005
"""Placements whose fullest ranks differ by less than this, relatively, are equally good, unless a packing
from nothing without any exchange is better. Exchanges that begin at different placements get stuck a hair
apart.
"""


def place(
    load: Floats,
    *,
    ranks: int,
    redundant: int = 0,
    nodes: int = 1,
    groups: int | None = None,
    current: Ints | None = None,
    tolerance: float = 0.0,
) -> Placement:
    """A placement of all experts for the given load; ValueError, with the numbers, for what cannot be.

    `load` [layers, experts]: the work that each expert causes, in any unit; not negative. A layer without any
    is left as it is.
    `redundant`: slots beyond one an expert; experts + `redundant` slots are divided evenly over `ranks`.
    `groups`: if given, experts are in so many groups of neighbours, and every group stays whole on one of
    `nodes`, on each the same number (models that route a token to few groups then keep it on few nodes).
    `current` [layers, slots]: the experts in the slots now, -1 for an empty slot. What is there is kept where
    that costs no balancedness.
    `tolerance`: how much fuller than in the best placement found the fullest rank may be, relatively, if
    that moves fewer experts.
    """
    load = np.asarray(load, dtype=np.float64)
    _check(load, ranks, redundant, nodes, groups, current, tolerance)
    layers, num_experts = load.shape
    slots = num_experts + redundant
    at = np.full((layers, slots), EMPTY, dtype=np.int64) if current is None else current.astype(np.int64)
    if groups is None or nodes == 1:
        found = _solve(load, at.reshape(layers, ranks, -1), tolerance)
    else:
        found = _solve_by_node(load, at.reshape(layers, ranks, -1), nodes, groups, tolerance)
    return Placement(found.reshape(layers, slots), num_experts, ranks)


def _solve(load: Floats, current: Ints, tolerance: float) -> Ints:
    """The experts for the slots that are now `current` [problems, ranks, slots a rank].

    Three ways are tried for all problems: a packing from nothing, its ranks named for what they keep; and
    exchanges from the current placement until it is as good as that packing, after changing the counts of
    replicas only where it pays, or to the best ones. Of those that get there, the one that moves the fewest
    experts is taken.
    """
    problems, ranks, a_rank = current.shape
    num_experts = load.shape[1]
    slots = ranks * a_rank
    idle = load.sum(axis=1) == 0
    load = np.where(idle[:, None], 1.0, load)

    counts = packing.replicate(load, slots, ranks)
    fresh = packing.pack(load, counts, ranks)
    packed = packing.fullest(fresh, load / counts)
    packing.improve(fresh, load / counts, load.sum(axis=1) / ranks)
    if (current == EMPTY).all():
        return fresh
    best = packing.fullest(fresh, load / counts)
    limit = np.maximum(best * (1 + tolerance), np.minimum(best * (1 + FINE), packed))
    limit[idle] = np.inf

    held = keeping.complete(count(current.reshape(problems, -1), num_experts), load, slots, ranks)
    ways = [keeping.name_ranks(fresh, current, num_experts)]
    reached = [np.ones(problems, dtype=np.bool_)]
    for margin in (MARGIN, 0.0):
        counts = keeping.relieve(held, load, ranks, margin)
        way = keeping.adjust(current, counts, load / counts)
        packing.improve(way, load / counts, limit)
        ways.append(way)
        reached.append(packing.fullest(way, load / counts) <= limit * (1 + packing.EQUAL))
    moved = np.stack([arrivals(current, way, num_experts) for way in ways])
    chosen = np.where(reached, moved, slots + 1).argmin(axis=0)
    return keeping.name_slots(np.stack(ways)[chosen, np.arange(problems)], current)


def _solve_by_node(load: Floats, current: Ints, nodes: int, groups: int, tolerance: float) -> Ints:
    """As `_solve`, with every group of experts on one node.

    The same problem twice: groups on nodes, then the experts of each node's groups on its ranks.
    """
    problems, ranks, a_rank = current.shape
    num_experts = load.shape[1]
    size = num_experts // groups
    group_load = load.reshape(problems, groups, size).sum(axis=2)
    by_node = _solve(group_load, _groups_at(current, nodes, groups, num_experts), tolerance)
    by_node = np.sort(by_node, axis=2)

    # The experts of each node, [problems, nodes, experts a node], and the way back: -1 for those elsewhere.
    experts = (by_node[..., None] * size + np.arange(size)).reshape(problems, nodes, -1)
    local = np.full((problems, nodes, num_experts + 1), EMPTY, dtype=np.int64)
    np.put_along_axis(local, experts, np.arange(experts.shape[2])[None, None], axis=2)
    here = np.take_along_axis(local, current.reshape(problems, nodes, -1), axis=2)

    node_load = np.take_along_axis(load[:, None], experts, axis=2).reshape(problems * nodes, -1)
    found = _solve(node_load, here.reshape(problems * nodes, ranks // nodes, a_rank), tolerance)
    return np.take_along_axis(experts, found.reshape(problems, nodes, -1), axis=2).reshape(current.shape)


def _groups_at(current: Ints, nodes: int, groups: int, num_experts: int) -> Ints:
    """[problems, nodes, groups a node]: where each group is now, by the slots that its experts have."""
    problems = len(current)
    size = num_experts // groups
    group = np.where(current == EMPTY, EMPTY, current // size).reshape(problems * nodes, -1)
    held = count(group, groups).reshape(problems, nodes, groups)
    at = np.full((problems, nodes, groups // nodes), EMPTY, dtype=np.int64)
    home = np.where(held.max(axis=1) > 0, held.argmax(axis=1), EMPTY)
    for problem, node in np.ndindex(problems, nodes):
        there = np.flatnonzero(home[problem] == node)[: groups // nodes]
        at[problem, node, : len(there)] = there
    return at


def _check(
    load: Floats,
    ranks: int,
    redundant: int,
    nodes: int,
    groups: int | None,
    current: Ints | None,
    tolerance: float,
) -> None:
    """Raise ValueError for numbers that no placement fits."""
    if load.ndim != 2 or not load.shape[1]:
        raise ValueError(f"load has shape {load.shape}, not [layers, experts]")
    if not (np.isfinite(load).all() and (load >= 0).all()):
        raise ValueError("load must be finite and not negative")
    num_experts = load.shape[1]
    if ranks < 1 or redundant < 0 or (num_experts + redundant) % ranks:
        raise ValueError(
            f"{num_experts} experts and redundant={redundant} cannot be divided over ranks={ranks}"
        )
    if nodes < 1 or ranks % nodes:
        raise ValueError(f"nodes={nodes} does not divide ranks={ranks}")
    if groups is not None and (groups < 1 or num_experts % groups or groups % nodes):
        raise ValueError(f"groups={groups} must divide {num_experts} experts, and nodes={nodes} groups")
    distinct = num_experts if groups is None else num_experts // nodes
    if (a_rank := (num_experts + redundant) // ranks) > distinct:
        raise ValueError(f"redundant={redundant} makes {a_rank} slots a rank for {distinct} experts")
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance={tolerance} must be finite and not negative")
    if current is not None:
        if current.shape != (len(load), num_experts + redundant):
            raise ValueError(f"current has shape {current.shape}, not {(len(load), num_experts + redundant)}")
        if current.size and (current.min() < EMPTY or current.max() >= num_experts):
            raise ValueError(f"current must hold experts 0..{num_experts - 1}, or {EMPTY}")
