"""Which experts get more than one slot, and which slots share a rank, so that all ranks have as much to do?

All functions work on many independent problems at once (a layer is one), in step: arrays have them on their
first axis.
"""

import numpy as np

from parallel.placement.maps import Floats, Ints

EQUAL = 1e-12
"""Loads closer than this, relatively, are the same: sums differ by the order of their terms."""


def replicate(load: Floats, slots: int, most: int) -> Ints:
    """[problems, experts]: slots for each expert, `slots` in all, one at least and `most` at most.

    Each further slot goes to the expert with the most load a slot. No other division has a lighter
    heaviest replica: to lighten it, an expert that was given a slot would need it all the same. `load` is
    [problems, experts]; `slots` must be between experts and experts * `most`.
    """
    problems, experts = load.shape
    rows = np.arange(problems)
    counts = np.ones((problems, experts), dtype=np.int64)
    shares = load.copy() if most > 1 else np.full_like(load, -1.0)
    for _ in range(slots - experts):
        hottest = shares.argmax(axis=1)
        counts[rows, hottest] += 1
        now = counts[rows, hottest]
        shares[rows, hottest] = np.where(now < most, load[rows, hottest] / now, -1.0)
    return counts


def pack(load: Floats, counts: Ints, ranks: int) -> Ints:
    """[problems, ranks, slots a rank]: replicas, heaviest first, each on the lightest rank with a free slot.

    The longest-processing-time rule with a limit on the number of jobs. `load` and `counts` are
    [problems, experts]; the counts of each problem must have the same sum, a multiple of `ranks`.
    """
    problems, experts = load.shape
    rows = np.arange(problems)
    shares = load / counts
    slots = np.repeat(np.tile(np.arange(experts), problems), counts.ravel()).reshape(problems, -1)
    weights = np.take_along_axis(shares, slots, axis=1)
    falling = np.argsort(-weights, axis=1, kind="stable")
    a_rank = slots.shape[1] // ranks
    packed = np.empty((problems, ranks, a_rank), dtype=np.int64)
    totals = np.zeros((problems, ranks))
    filled = np.zeros((problems, ranks), dtype=np.int64)
    for nth in range(slots.shape[1]):
        item = falling[:, nth]
        rank = totals.argmin(axis=1)
        packed[rows, rank, filled[rows, rank]] = slots[rows, item]
        filled[rows, rank] += 1
        added = totals[rows, rank] + weights[rows, item]
        totals[rows, rank] = np.where(filled[rows, rank] == a_rank, np.inf, added)
    return packed


def fullest(packed: Ints, shares: Floats) -> Floats:
    """[problems]: the load of the fullest rank; arguments as for `improve`."""
    load: Floats = _weights(packed, shares).sum(axis=2).max(axis=1)
    return load


def _weights(packed: Ints, shares: Floats) -> Floats:
    """The load of each slot, in the shape of `packed`."""
    return np.take_along_axis(shares, packed.reshape(len(packed), -1), axis=1).reshape(packed.shape)


def improve(packed: Ints, shares: Floats, target: Floats) -> None:
    """Exchange replicas in place until no rank has more than `target`, or none of these exchanges helps.

    Each exchange is between the fullest rank and the one, and the two replicas, that leave the fuller of the
    two lightest. `packed` is [problems, ranks, slots a rank], `shares` [problems, experts] the load of one
    replica of an expert, `target` [problems].
    """
    problems, ranks, a_rank = packed.shape
    weights = _weights(packed, shares)
    totals = weights.sum(axis=2)
    at_work = np.arange(problems)
    while (at_work := at_work[totals[at_work].max(axis=1) > target[at_work] * (1 + EQUAL)]).size:
        rows = np.arange(len(at_work))
        here = totals[at_work]
        giver = here.argmax(axis=1)
        top = here[rows, giver]
        partner = np.repeat(here[:, :, None], a_rank, axis=2)
        partner[rows, giver] = np.inf
        theirs = weights[at_work].reshape(len(at_work), 1, -1)
        given = weights[at_work, giver][:, :, None] - theirs
        after = np.maximum(top[:, None, None] - given, partner.reshape(len(at_work), 1, -1) + given)
        after = after.reshape(len(at_work), -1)
        best = after.argmin(axis=1)
        helps = after[rows, best] < top * (1 - EQUAL)
        at_work, giver, best = at_work[helps], giver[helps], best[helps]
        mine, other = np.divmod(best, ranks * a_rank)
        rank, slot = np.divmod(other, a_rank)
        for each in (packed, weights):
            kept = each[at_work, giver, mine]
            each[at_work, giver, mine] = each[at_work, rank, slot]
            each[at_work, rank, slot] = kept
        for changed in (giver, rank):
            totals[at_work, changed] = weights[at_work, changed].sum(axis=1)
