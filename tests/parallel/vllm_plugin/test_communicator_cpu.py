"""Do the added collectives move and sum what belongs to each rank, whatever the sizes?"""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

from parallel.vllm_plugin.communicator_cpu import UnevenCpuCommunicator
from tests.parallel.ranks import run_as_ranks

NUM_RANKS = 3
SIZES = [
    ([2, 2, 2], "even"),
    ([3, 1, 2], "uneven"),
    ([0, 4, 1], "one rank has nothing"),
    ([1, 0, 0], "only one has"),
]


def rows(rank: int, num: int, dtype: torch.dtype) -> torch.Tensor:
    """What a rank holds [num, 5]: small whole numbers, exact in every dtype, that no other rank holds."""
    return (torch.arange(num * 5).reshape(num, 5) % 7 + 10 * rank).to(dtype)


def check_rank(rank: int) -> None:
    """All checks, as one rank of the group."""
    group = dist.group.WORLD
    assert group is not None
    ours: Any = UnevenCpuCommunicator(cpu_group=group, device_group=group, unique_name="ep:0")
    for sizes, case in SIZES:
        for dtype in (torch.float32, torch.bfloat16, torch.int32, torch.int64, torch.uint8):
            check_gather(ours, rank, sizes, dtype, case)
        for dtype in (torch.float32, torch.bfloat16):
            check_reduce(ours, rank, sizes, dtype, case)
    check_defaults(ours, rank)


def check_gather(ours: Any, rank: int, sizes: list[int], dtype: torch.dtype, case: str) -> None:
    """Every rank gets all rows in rank order, alone or in a list, and keeps its input."""
    mine = rows(rank, sizes[rank], dtype)
    wanted = torch.cat([rows(other, num, dtype) for other, num in enumerate(sizes)])
    assert torch.equal(ours.all_gatherv(mine, 0, sizes), wanted), case
    both = ours.all_gatherv([mine, mine[:, :2]], 0, sizes)
    assert torch.equal(both[0], wanted), case
    assert torch.equal(both[1], wanted[:, :2]), case
    assert torch.equal(mine, rows(rank, sizes[rank], dtype)), case


def check_reduce(ours: Any, rank: int, sizes: list[int], dtype: torch.dtype, case: str) -> None:
    """Every rank gets the sums of its own rows, or columns, and keeps its input."""
    mine = rows(rank, sum(sizes), dtype)
    total = (
        torch.stack([rows(other, sum(sizes), dtype).float() for other in range(NUM_RANKS)]).sum(0).to(dtype)
    )
    assert torch.equal(ours.reduce_scatterv(mine, 0, sizes), total.split(sizes)[rank]), case
    columns = ours.reduce_scatterv(mine.T.contiguous(), -1, sizes)
    assert torch.equal(columns, total.split(sizes)[rank].T), case
    assert columns.is_contiguous(), case
    assert torch.equal(mine, rows(rank, sum(sizes), dtype)), case


def check_defaults(ours: Any, rank: int) -> None:
    """Without sizes all ranks hold as many."""
    mine = rows(rank, 2, torch.float32)
    gathered = ours.all_gatherv(mine)
    assert torch.equal(gathered, torch.cat([rows(other, 2, torch.float32) for other in range(NUM_RANKS)]))
    assert torch.equal(ours.reduce_scatter(gathered, 0), NUM_RANKS * mine)


def test_all_ranks_agree_with_plain_arithmetic() -> None:
    """Three gloo ranks gather and reduce even, uneven and empty parts in every dtype vLLM sends."""
    run_as_ranks(NUM_RANKS, check_rank)


@pytest.mark.parametrize("collective", ["all_gatherv", "reduce_scatterv"])
def test_upstream_lacks_them(collective: str) -> None:
    """VLLM's CPU communicator inherits a method that only raises."""
    with pytest.raises(NotImplementedError):
        getattr(CpuCommunicator, collective)(object.__new__(CpuCommunicator), torch.zeros(1))


def test_gathering_along_another_dimension_is_refused() -> None:
    """VLLM gathers tokens, which are dimension 0."""
    with pytest.raises(ValueError, match="not 1"):
        object.__new__(UnevenCpuCommunicator).all_gatherv(torch.zeros(1, 1), dim=1)
