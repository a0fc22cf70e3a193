"""Which ranks of a plan talk to each other?

Ranks are numbered as vLLM numbers them: the tp ranks of a dp group stand next to each other.
"""

from dataclasses import dataclass
from typing import Any

import torch.distributed as dist

from parallel.plan import ParallelPlan

ProcessGroup = Any
"""`torch.distributed.ProcessGroup`, which carries no types we could check against."""


@dataclass(frozen=True)
class Groups:
    """The process groups that one rank belongs to."""

    tp: ProcessGroup
    """Ranks that share its attention heads."""
    dp: ProcessGroup
    """The ranks at its place in every dp group."""
    ep: ProcessGroup | None
    """Ranks that the whole experts are divided over; None where every rank has a slice of each."""


def tp_ranks(plan: ParallelPlan) -> list[list[int]]:
    """The ranks of every tp group."""
    return [list(range(first, first + plan.tp)) for first in range(0, plan.world_size, plan.tp)]


def dp_ranks(plan: ParallelPlan) -> list[list[int]]:
    """The ranks that share a place, one of each dp group."""
    return [list(range(place, plan.world_size, plan.tp)) for place in range(plan.tp)]


def make_groups(plan: ParallelPlan) -> Groups:
    """This rank's groups; every rank of the plan calls it, after `init_process_group`.

    Raises ValueError when another number of ranks runs than the plan has. `destroy_process_group` ends them.
    """
    if dist.get_world_size() != plan.world_size:
        raise ValueError(
            f"{dist.get_world_size()} ranks run, but tp*dp={plan.tp}*{plan.dp}={plan.world_size} are planned"
        )
    tp, _ = dist.new_subgroups_by_enumeration(tp_ranks(plan))
    dp, _ = dist.new_subgroups_by_enumeration(dp_ranks(plan))
    return Groups(tp, dp, ep=dist.new_group() if plan.ep else None)
