"""Which expert is in which slot of which rank, and what does it take to get there from somewhere else?

A *slot* is a physical expert: room for one expert's weights on one rank. Slots are numbered rank by rank, so
that rank r of `ranks` has slots r * slots / ranks up to the next rank's first.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

EMPTY = -1
"""In a map of slots, one that holds no expert, as on a rank that has just joined."""


@dataclass(frozen=True, eq=False)
class Placement:
    """The experts of every layer in their slots; ValueError for maps that cannot be one.

    The three maps have the layout that vLLM's expert load balancing works with: `physical_to_logical` is
    what its policies return, the other two are what it derives from that.
    """

    physical_to_logical: Ints
    """[layers, slots]: the expert in each slot."""
    num_experts: int
    """Logical experts of each layer."""
    ranks: int
    """Ranks that the slots are divided over, evenly."""

    def __post_init__(self) -> None:
        slots = self.physical_to_logical
        if slots.ndim != 2 or self.ranks < 1 or slots.shape[1] % self.ranks:
            raise ValueError(f"slots of shape {slots.shape} cannot be divided over ranks={self.ranks}")
        if slots.size and (slots.min() < 0 or slots.max() >= self.num_experts):
            raise ValueError(f"experts must be in 0..{self.num_experts - 1}")
        if (self.replicas < 1).any():
            layer, expert = np.argwhere(self.replicas < 1)[0]
            raise ValueError(f"expert {expert} of layer {layer} has no slot")

    @cached_property
    def replicas(self) -> Ints:
        """[layers, experts]: how many slots each expert has."""
        return count(self.physical_to_logical, self.num_experts)

    @cached_property
    def logical_to_physical(self) -> Ints:
        """[layers, experts, most replicas]: the slots of each expert in ascending order, then -1."""
        layers, num_slots = self.physical_to_logical.shape
        by_expert = np.argsort(self.physical_to_logical, axis=1, kind="stable")
        experts = np.take_along_axis(self.physical_to_logical, by_expert, axis=1)
        first = np.cumsum(self.replicas, axis=1) - self.replicas
        nth = np.arange(num_slots) - np.take_along_axis(first, experts, axis=1)
        found = np.full((layers, self.num_experts, int(self.replicas.max(initial=0))), EMPTY, dtype=np.int64)
        found[np.arange(layers)[:, None], experts, nth] = by_expert
        return found

    def by_rank(self) -> Ints:
        """[layers, ranks, slots a rank]: the same experts, rank by rank."""
        return self.physical_to_logical.reshape(len(self.physical_to_logical), self.ranks, -1)


def initial(layers: int, num_experts: int, ranks: int, redundant: int = 0) -> Placement:
    """Where vLLM puts experts at its start: in order, and in order once more in the redundant slots."""
    slots = np.arange(num_experts + redundant, dtype=np.int64) % num_experts
    return Placement(np.tile(slots, (layers, 1)), num_experts, ranks)


def experts_moved(old: Placement, new: Placement) -> Ints:
    """[layers]: how many experts' weights must come to a rank from another one to get from `old` to `new`.

    A rank that has an expert already copies it by itself, however many of its slots want it. ValueError for
    placements of different sizes.
    """
    if old.by_rank().shape != new.by_rank().shape or old.num_experts != new.num_experts:
        raise ValueError(f"{old.by_rank().shape} and {new.by_rank().shape} are different sizes")
    return arrivals(old.by_rank(), new.by_rank(), new.num_experts)


def arrivals(old: Ints, new: Ints, num_experts: int) -> Ints:
    """[problems]: experts that a rank has in `new` and has not in `old`, both [problems, ranks, slots]."""
    missing = presence(new, num_experts) & ~presence(old, num_experts)
    moved: Ints = missing.sum(axis=(1, 2), dtype=np.int64)
    return moved


def presence(slots: Ints, num_experts: int) -> Flags:
    """[problems, ranks, experts]: whether a rank of `slots` [problems, ranks, slots] has an expert."""
    found = np.zeros((*slots.shape[:2], num_experts + 1), dtype=np.bool_)
    np.put_along_axis(found, slots, True, axis=2)  # an empty slot is -1: the last column
    return found[:, :, :num_experts]


def count(slots: Ints, num_experts: int) -> Ints:
    """[problems, experts]: how many of the slots [problems, slots] hold each expert."""
    rows = np.arange(len(slots), dtype=np.int64)[:, None] * (num_experts + 1)
    flat = np.where(slots == EMPTY, num_experts, slots) + rows
    counted = np.bincount(flat.ravel(), minlength=len(slots) * (num_experts + 1))
    return counted.reshape(len(slots), num_experts + 1)[:, :num_experts].astype(np.int64)
