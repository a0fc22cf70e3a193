"""Does each rank of a plan find its own groups?"""

import pytest
import torch
import torch.distributed as dist

from parallel.groups import ProcessGroup, dp_ranks, make_groups, tp_ranks
from parallel.plan import ParallelPlan
from tests.parallel.ranks import run_as_ranks

BOTH = ParallelPlan(tp=2, dp=2, ep=True)


@pytest.mark.parametrize(
    ("plan", "tp", "dp"),
    [
        (ParallelPlan(), [[0]], [[0]]),
        (ParallelPlan(tp=2), [[0, 1]], [[0], [1]]),
        (ParallelPlan(dp=2), [[0], [1]], [[0, 1]]),
        (BOTH, [[0, 1], [2, 3]], [[0, 2], [1, 3]]),
        (ParallelPlan(tp=2, dp=3), [[0, 1], [2, 3], [4, 5]], [[0, 2, 4], [1, 3, 5]]),
    ],
)
def test_every_rank_has_one_place(plan: ParallelPlan, tp: list[list[int]], dp: list[list[int]]) -> None:
    """The ranks of a tp group are neighbours; those of a dp group are tp apart."""
    assert tp_ranks(plan) == tp
    assert dp_ranks(plan) == dp


def members(group: ProcessGroup) -> list[int]:
    """The ranks that a collective in this group hears of."""
    heard = torch.zeros(dist.get_world_size(), dtype=torch.int64)
    heard[dist.get_rank()] = 1
    dist.all_reduce(heard, group=group)
    return [rank for rank, was_heard in enumerate(heard.tolist()) if was_heard]


def check_groups(rank: int) -> None:
    """All checks, as one rank of four."""
    groups = make_groups(BOTH)
    assert members(groups.tp) == [[0, 1], [0, 1], [2, 3], [2, 3]][rank]
    assert members(groups.dp) == [[0, 2], [1, 3], [0, 2], [1, 3]][rank]
    assert members(groups.ep) == [0, 1, 2, 3]
    assert make_groups(ParallelPlan(tp=4)).ep is None
    with pytest.raises(ValueError, match=r"4 ranks run, but tp\*dp=2\*1=2"):
        make_groups(ParallelPlan(tp=2))


def test_collectives_stay_in_their_group() -> None:
    """Four ranks in two groups of two each way, and in one for the experts."""
    run_as_ranks(4, check_groups)
