"""Do tokens reach their experts and come back, whatever the ranks hold? Against one process with all experts.

Everything is exact: experts map whole numbers to whole numbers, and weights are powers of two.
"""

import pytest
import torch
import torch.distributed as dist

from parallel.collectives import all_gather, combine, dispatch, reduce_scatter
from tests.parallel.ranks import run_as_ranks

NUM_EXPERTS, ACTIVE, WIDTH = 8, 2, 3

SIZES = {
    1: [[3], [1], [0]],
    2: [[2, 2], [1, 4], [0, 3], [1, 0], [1, 1], [0, 0]],
    4: [[2, 2, 2, 2], [1, 1, 1, 1], [5, 0, 1, 2], [0, 0, 0, 1], [1, 3, 1, 3], [0, 0, 0, 0]],
}
"""Tokens of each rank, by the number of ranks."""

ROUTINGS = ("spread", "to the first rank", "to the last expert")


def tokens_of(rank: int, num: int) -> torch.Tensor:
    """What a rank holds [num, WIDTH]: small whole numbers, exact in every dtype."""
    return (torch.arange(num * WIDTH).reshape(num, WIDTH) % 7 + 10 * rank).float()


def routing_of(rank: int, num: int, routing: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights and experts of a rank's tokens, both [num, ACTIVE]; unlike for every token."""
    draw = torch.Generator().manual_seed(100 * rank + num)
    weights = 2.0 ** -torch.randint(1, 4, (num, ACTIVE), generator=draw)
    if routing == "spread":
        scores = torch.rand(num, NUM_EXPERTS, generator=draw)
        return weights, scores.topk(ACTIVE).indices
    fixed = [1, 0] if routing == "to the first rank" else [NUM_EXPERTS - 1] * ACTIVE
    return weights, torch.tensor(fixed).expand(num, ACTIVE)


def expert(number: int, tokens: torch.Tensor) -> torch.Tensor:
    """The output of one expert: no two experts have the same."""
    return tokens * (number + 1) + number


def dense(tokens: torch.Tensor, weights: torch.Tensor, experts: torch.Tensor) -> torch.Tensor:
    """The layer in one process: every token by each of its experts, weighted and summed."""
    outputs = torch.stack([expert(number, tokens) for number in range(NUM_EXPERTS)], 1)
    chosen = outputs[torch.arange(len(tokens))[:, None], experts]
    return (chosen * weights[..., None]).sum(1)


def check_dispatch(rank: int, sizes: list[int], routing: str) -> None:
    """A rank's experts get exactly the tokens that chose them, and each token its own sum."""
    tokens, (weights, experts) = tokens_of(rank, sizes[rank]), routing_of(rank, sizes[rank], routing)
    group = dist.group.WORLD
    sent = dispatch(tokens, experts, NUM_EXPERTS, group)
    first = rank * NUM_EXPERTS // len(sizes)
    wanted = [
        [chosen, *token]
        for other, num in enumerate(sizes)
        for token, choices in zip(
            tokens_of(other, num).tolist(), routing_of(other, num, routing)[1].tolist(), strict=True
        )
        for chosen in choices
        if first <= chosen < first + NUM_EXPERTS // len(sizes)
    ]
    rows = torch.cat([(sent.experts + first).float()[:, None], sent.tokens], 1)
    assert sorted(rows.tolist()) == sorted(wanted)
    outputs = [
        expert(first + local, token) for local, token in zip(sent.experts.tolist(), sent.tokens, strict=True)
    ]
    outputs_md = torch.stack(outputs) if outputs else torch.empty(0, WIDTH)
    assert torch.equal(combine(outputs_md, sent, weights, group), dense(tokens, weights, experts))


def check_pair(rank: int, sizes: list[int], dtype: torch.dtype) -> None:
    """All ranks' rows in rank order on every rank; the sums of all ranks back on each."""
    own, group = tokens_of(rank, sizes[rank]).to(dtype), dist.group.WORLD
    everyone = torch.cat([tokens_of(other, num) for other, num in enumerate(sizes)])
    gathered = all_gather(own, sizes, group)
    assert torch.equal(gathered, everyone.to(dtype))
    if dtype.is_floating_point:
        factors = sum(range(1, len(sizes) + 1))
        assert torch.equal(reduce_scatter(gathered * (rank + 1), sizes, group), own * factors)


def check_all(rank: int) -> None:
    """All checks, as one rank."""
    num_ranks = dist.get_world_size()
    for sizes in SIZES[num_ranks]:
        for routing in ROUTINGS:
            check_dispatch(rank, sizes, routing)
        for dtype in (torch.float32, torch.bfloat16, torch.int32, torch.int64, torch.uint8):
            check_pair(rank, sizes, dtype)
    check_sum_is_wide(num_ranks)
    check_refusals(rank, num_ranks)


def check_sum_is_wide(num_ranks: int) -> None:
    """In bfloat16 256 + 1 is 256, so ones added to it one by one would be lost."""
    rank = dist.get_rank()
    mine = torch.full((num_ranks, 1), 256.0 if rank == 0 else 1.0, dtype=torch.bfloat16)
    total = reduce_scatter(mine, [1] * num_ranks, dist.group.WORLD)
    assert total.item() == torch.tensor(256.0 + num_ranks - 1).bfloat16().item()


def check_refusals(rank: int, num_ranks: int) -> None:
    """What does not add up is refused before anything is sent."""
    group, rows = dist.group.WORLD, torch.zeros(2, WIDTH)
    with pytest.raises(ValueError, match="own has 2 rows, but sizes say 3"):
        all_gather(rows, [3] * num_ranks, group)
    with pytest.raises(ValueError, match=f"partial has 2 rows, but sizes say {3 * num_ranks}"):
        reduce_scatter(rows, [3] * num_ranks, group)
    for wrong in (-1, NUM_EXPERTS):
        experts = torch.tensor([[0, wrong], [1, 2]])
        with pytest.raises(ValueError, match=rf"experts=.*{wrong}.* but num_experts={NUM_EXPERTS}"):
            dispatch(rows, experts, NUM_EXPERTS, group)
    if num_ranks > 1:
        with pytest.raises(ValueError, match=f"num_experts=7 do not divide over {num_ranks} ranks"):
            dispatch(rows, torch.zeros(2, 1), 7, group)


@pytest.mark.parametrize("num_ranks", SIZES)
def test_ranks_agree_with_one_process(num_ranks: int) -> None:
    """Even and uneven loads, ranks with one token or none, and all tokens to one rank."""
    run_as_ranks(num_ranks, check_all)
