"""How is the work of experts spread lately, over experts and over ranks?

Counts of chosen experts only ever grow while an engine runs; what matters is what was added lately.
"""

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from parallel.placement.balance import balancedness, rank_loads
from parallel.placement.maps import Floats, Ints, Placement, experts_moved, initial


@dataclass(frozen=True, eq=False)
class Reading:
    """Counts since an engine's start, and where its experts are now."""

    counts: Ints
    """[layers, experts]: tokens that chose each expert."""
    placement: Placement


@dataclass(frozen=True, eq=False)
class ExpertLoad:
    """What was added to the counts in a window of time; ValueError for counts that cannot be."""

    counts: Ints
    """[layers, experts]: tokens that chose each expert."""
    placement: Placement
    """Where the experts were at the window's end."""
    window_s: float = 0.0
    """0 if it is not known."""
    rearrangements: int = 0
    """How often experts were found in other places than before, since the engine's start."""
    experts_moved: int = 0
    """Weights of experts that ranks got from others for that, over all layers."""

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or not self.counts.size:
            raise ValueError(f"counts have shape {self.counts.shape}, not [layers, experts]")
        if self.counts.min() < 0:
            raise ValueError(f"counts must not be negative, and one is {self.counts.min()}")
        slots = self.placement.physical_to_logical
        if (len(slots), self.placement.num_experts) != self.counts.shape:
            raise ValueError(
                f"counts are for {self.counts.shape} layers and experts, "
                f"the placement for {(len(slots), self.placement.num_experts)}"
            )

    @cached_property
    def balancedness(self) -> Floats:
        """[layers]: mean over max of the ranks' loads, as `placement.balance` has it."""
        return balancedness(self.counts.astype(np.float64), self.placement)

    @cached_property
    def hottest_share(self) -> Floats:
        """[layers]: share of the choices that the most chosen expert had; 0 where there were none."""
        hottest: Floats = shares(self.counts).max(axis=1)
        return hottest

    @cached_property
    def rank_shares(self) -> Floats:
        """[ranks]: share of the work of all layers that each rank had; 0 if there was none."""
        loads = rank_loads(self.counts.astype(np.float64), self.placement).sum(axis=0)
        of_ranks: Floats = shares(loads[None])[0]
        return of_ranks

    def values(self) -> dict[str, Any]:
        """Plain values, for JSON; `load_of` reads them."""
        return {
            "window_s": round(self.window_s, 3),
            "ranks": self.placement.ranks,
            "rearrangements": self.rearrangements,
            "experts_moved": self.experts_moved,
            "balancedness": [round(float(one), 4) for one in self.balancedness],
            "counts": self.counts.tolist(),
            "slots": self.placement.physical_to_logical.tolist(),
        }


def load_of(values: Any, ranks: int | None = None) -> ExpertLoad:
    """The load in plain values: `counts` and, if they are there, `ranks`, `slots`, `window_s`.

    `ranks` takes the place of the values' own, with the experts in order. ValueError for anything else.
    """
    if not isinstance(values, dict) or "counts" not in values:
        raise ValueError("an object with counts [layers, experts] is needed")
    counts, own = integers(values["counts"], "counts"), values.get("ranks", 1)
    if type(own) is not int:
        raise ValueError(f"ranks={own!r} must be a whole number")
    window_s = values.get("window_s", 0.0)
    if type(window_s) not in (int, float):
        raise ValueError(f"window_s={window_s!r} must be a number")
    if ranks is None and "slots" in values:
        placement = Placement(integers(values["slots"], "slots"), counts.shape[1], own)
    else:
        placement = in_order(counts, ranks or own)
    return ExpertLoad(counts, placement, float(window_s))


def in_order(counts: Ints, ranks: int) -> Placement:
    """The placement of counts [layers, experts] that vLLM starts with."""
    layers, num_experts = counts.shape
    return initial(layers, num_experts, ranks)


def integers(values: Any, name: str) -> Ints:
    """`values` as whole numbers [layers, ...]; ValueError naming `name` for anything else."""
    try:
        found = np.array(values)
    except ValueError:
        found = np.array(None)
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(f"{name} must be rows of equal length of whole numbers, a row a layer")
    return found.astype(np.int64)


def shares(counts: Ints | Floats) -> Floats:
    """Each row as shares of its sum; zeros where that is 0."""
    totals = counts.sum(axis=1, keepdims=True)
    found: Floats = counts / np.where(totals > 0, totals, 1)
    return found


def total_variation(one: Ints, other: Ints) -> Floats:
    """[layers]: half the sum of the differences of shares, from 0 (alike) to 1 (no expert in common)."""
    found: Floats = np.abs(shares(one) - shares(other)).sum(axis=1) / 2
    return found


class Window:
    """The readings of one engine over the last `length_s` seconds."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._readings: deque[tuple[float, Reading]] = deque()
        self._rearrangements = 0
        self._experts_moved = 0

    def add(self, now_s: float, reading: Reading) -> None:
        """Take in a reading; counts that have shrunk are those of an engine that started anew."""
        if self._readings:
            last = self._readings[-1][1]
            moved = int(experts_moved(last.placement, reading.placement).sum())
            self._rearrangements += moved > 0
            self._experts_moved += moved
            if (reading.counts < last.counts).any():
                self._readings.clear()
        self._readings.append((now_s, reading))
        while len(self._readings) > 2 and now_s - self._readings[1][0] >= self._length_s:
            self._readings.popleft()

    def load(self) -> ExpertLoad | None:
        """What was added between the oldest reading and the newest; None before there are two."""
        if len(self._readings) < 2:
            return None
        (began_s, old), (ended_s, new) = self._readings[0], self._readings[-1]
        return ExpertLoad(
            new.counts - old.counts,
            new.placement,
            ended_s - began_s,
            self._rearrangements,
            self._experts_moved,
        )
