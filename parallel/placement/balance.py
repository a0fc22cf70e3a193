"""How evenly is load spread over ranks, and how evenly could it be?

Load is whatever counts the work an expert causes; vLLM counts the tokens routed to it. The replicas of an
expert share its load equally, as vLLM routes to them.
"""

import numpy as np

from parallel.placement.maps import Floats, Placement
from parallel.placement.packing import replicate


def rank_loads(load: Floats, placement: Placement) -> Floats:
    """[layers, ranks]: the load of each rank, in the unit of `load` [layers, experts]."""
    shares = load / placement.replicas
    by_slot = np.take_along_axis(shares, placement.physical_to_logical, axis=1)
    loads: Floats = by_slot.reshape(placement.by_rank().shape).sum(axis=2)
    return loads


def balancedness(load: Floats, placement: Placement) -> Floats:
    """[layers]: mean over max of the ranks' loads, in (0, 1]; 1 where there is no load.

    All ranks wait for the fullest one, so this is the share of the expert layers' time that is used.
    """
    loads = rank_loads(load, placement)
    fullest = loads.max(axis=1)
    return np.where(fullest > 0, loads.mean(axis=1) / np.where(fullest > 0, fullest, 1), 1.0)


def lower_bound(load: Floats, ranks: int, redundant: int = 0) -> Floats:
    """[layers]: no placement of `load` [layers, experts] has a fullest rank below this.

    The largest of what must hold: some rank has the mean or more; some rank has the heaviest replica, which
    is lightest when replicas go one by one to the expert with the most load a replica (an exchange argument);
    without redundant slots, the rank of the heaviest expert also has its other slots filled, with the
    lightest experts at best, and of the q * ranks + 1 heaviest experts some rank has q + 1.
    """
    num_experts = load.shape[1]
    counts = replicate(load, num_experts + redundant, ranks)
    bound: Floats = np.maximum(load.sum(axis=1) / ranks, (load / counts).max(axis=1))
    if redundant:
        return bound
    falling = -np.sort(-load, axis=1)
    a_rank = num_experts // ranks
    bound = np.maximum(bound, falling[:, 0] + falling[:, num_experts - a_rank + 1 :].sum(axis=1))
    for q in range(1, a_rank):
        bound = np.maximum(bound, falling[:, q * ranks - q : q * ranks + 1].sum(axis=1))
    return bound
