"""How is a better placement reached from the current one with few experts moved?

Like `packing`, for many independent problems in step. A current placement may have empty slots, and lack
experts; what is returned has neither.
"""

import numpy as np

from parallel.placement.maps import EMPTY, Flags, Floats, Ints, count, presence
from parallel.placement.packing import EQUAL


def complete(counts: Ints, load: Floats, slots: int, most: int) -> Ints:
    """`counts` [problems, experts] with few changes that give every expert a slot and use `slots` in all.

    Slots are added where a replica has the most load, and taken where its loss burdens the others least.
    """
    counts = counts.clip(1, most)
    rows = np.arange(len(counts))
    while (short := counts.sum(axis=1) < slots).any():
        hottest = np.where(counts < most, load / counts, -1.0).argmax(axis=1)
        counts[rows[short], hottest[short]] += 1
    while (over := counts.sum(axis=1) > slots).any():
        cheapest = _burden(counts, load).argmin(axis=1)
        counts[rows[over], cheapest[over]] -= 1
    return counts


def relieve(counts: Ints, load: Floats, most: int, margin: float) -> Ints:
    """`counts` [problems, experts], complete, with slots transferred from cold experts to hot ones.

    Each transfer is to the expert with the heaviest replicas, from the one whose replicas become least heavy
    by it, and is made if those stay lighter by more than `margin`, relatively. With a margin of 0 the
    heaviest replica ends as light as any division of as many slots can make it.
    """
    counts = counts.copy()
    rows = np.arange(len(counts))
    while True:
        shares = load / counts
        hottest = shares.argmax(axis=1)
        burden = _burden(counts, load)
        cheapest = burden.argmin(axis=1)
        pays = burden[rows, cheapest] * (1 + margin + EQUAL) < shares[rows, hottest]
        pays &= counts[rows, hottest] < most
        if not pays.any():
            return counts
        counts[rows[pays], hottest[pays]] += 1
        counts[rows[pays], cheapest[pays]] -= 1


def _burden(counts: Ints, load: Floats) -> Floats:
    """[problems, experts]: load of a replica if its expert had one less; infinite for the last one."""
    return np.where(counts > 1, load / np.maximum(counts - 1, 1), np.inf)


def adjust(current: Ints, counts: Ints, shares: Floats) -> Ints:
    """`current` [problems, ranks, slots a rank], emptied and filled until it has `counts` of each expert.

    `shares` [problems, experts] are the loads of one replica under these counts. Surplus replicas leave the
    fullest rank that has one; missing ones go, heaviest first, to the lightest rank with a free slot, to one
    without that expert if there is such a rank.
    """
    adjusted = current.copy()
    held = count(current.reshape(len(current), -1), counts.shape[1])
    for problem in np.flatnonzero((held != counts).any(axis=1)):
        _adjust(adjusted[problem], counts[problem] - held[problem], shares[problem])
    return adjusted


def _adjust(slots: Ints, wanted: Ints, shares: Floats) -> None:
    """One problem of `adjust`, in place: `wanted` [experts] is how many more slots each is to have."""
    totals = np.where(slots == EMPTY, 0.0, shares[slots]).sum(axis=1)
    heaviest_first = np.argsort(-shares, kind="stable")
    for expert in heaviest_first[wanted[heaviest_first] < 0]:
        for _ in range(-wanted[expert]):
            has = (slots == expert).any(axis=1)
            rank = np.where(has, totals, -np.inf).argmax()
            slots[rank, (slots[rank] == expert).argmax()] = EMPTY
            totals[rank] -= shares[expert]
    for expert in heaviest_first[wanted[heaviest_first] > 0]:
        for _ in range(wanted[expert]):
            free = (slots == EMPTY).any(axis=1)
            new_to_it = free & ~(slots == expert).any(axis=1)
            rank = np.where(new_to_it if new_to_it.any() else free, totals, np.inf).argmin()
            slots[rank, (slots[rank] == EMPTY).argmax()] = expert
            totals[rank] += shares[expert]


def name_ranks(packed: Ints, current: Ints, num_experts: int) -> Ints:
    """`packed` [problems, ranks, slots a rank] with its ranks in the order that keeps many experts in place.

    Pairs with the most experts in common first, then exchanges of two while they gain: no proof of the
    optimum, which would take an assignment problem's solver.
    """
    old, new = presence(current, num_experts), presence(packed, num_experts)
    common = new.astype(np.float64) @ old.astype(np.float64).transpose(0, 2, 1)
    names = _pair(common)
    rows = np.arange(len(names))
    while True:
        # [problem, i, j]: what new rank i has in common with the old rank whose name new rank j has.
        crossed = np.take_along_axis(common, names[:, None, :], axis=2)
        kept = np.diagonal(crossed, axis1=1, axis2=2)
        gain = crossed + crossed.transpose(0, 2, 1) - kept[:, :, None] - kept[:, None, :]
        flat = gain.reshape(len(names), -1)
        best = flat.argmax(axis=1)
        gains = flat[rows, best] > 0
        if not gains.any():
            break
        one, two = np.divmod(best[gains], names.shape[1])
        picked = rows[gains]
        names[picked, one], names[picked, two] = names[picked, two], names[picked, one]
    return np.take_along_axis(packed, np.argsort(names, axis=1)[:, :, None], axis=1)


def _pair(common: Floats) -> Ints:
    """[problems, new ranks]: an old rank for each, the pairs with the most in common chosen first."""
    problems, ranks = common.shape[:2]
    rows = np.arange(problems)
    left = common.copy()
    names = np.empty((problems, ranks), dtype=np.int64)
    for _ in range(ranks):
        new, old = np.divmod(left.reshape(problems, -1).argmax(axis=1), ranks)
        names[rows, new] = old
        left[rows, new] = -1
        left[rows, :, old] = -1
    return names


def name_slots(packed: Ints, current: Ints) -> Ints:
    """`packed` with the slots of each rank in the order that leaves what stays on a rank in its slot.

    Both are [problems, ranks, slots a rank].
    """
    new, old = packed.reshape(-1, packed.shape[2]), current.reshape(-1, current.shape[2])
    same = (_numbered(new)[:, :, None] == _numbered(old)[:, None, :]).all(axis=3)
    stays, keeps = same.any(axis=2), same.any(axis=1)
    arriving = np.take_along_axis(new, np.argsort(stays, axis=1, kind="stable"), axis=1)
    named = np.empty_like(new)
    np.put_along_axis(named, np.argsort(keeps, axis=1, kind="stable"), arriving, axis=1)
    return np.where(keeps, old, named).reshape(packed.shape)


def _numbered(rows: Ints) -> Ints:
    """[rows, slots, 2]: each entry and how many equal ones stand before it, so that no two are the same."""
    equal: Flags = rows[:, :, None] == rows[:, None, :]
    before = np.tril(equal, k=-1).sum(axis=2, dtype=np.int64)
    return np.stack([rows, before], axis=2)
