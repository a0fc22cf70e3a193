"""How do tokens reach the ranks of their experts, and how do the outputs come back?

Two ways, on any backend of torch.distributed. With `dispatch` and `combine` a token goes to the ranks of its
experts alone. With `all_gather` and `reduce_scatter` every rank gets all tokens, and the ranks' outputs are
summed; that is simpler, and worth it where a token's experts are on most of the ranks. All four are one
all-to-all of uneven sizes, which gloo and NCCL both have; they have no other collective of uneven sizes in
common.

Shape legend: R ranks of the group, n tokens of this rank, N of all ranks, K experts a token, D width of a
token, M choices that fell on this rank's experts, E experts of the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from parallel.groups import ProcessGroup


def all_gather(own: torch.Tensor, sizes: Sequence[int], group: ProcessGroup) -> torch.Tensor:
    """Each rank's [n, ...] -> on every rank [N, ...], in rank order; `sizes` [R] holds every rank's n.

    Raises ValueError where this rank's tensor has another size than `sizes` says.
    """
    _check_size("own", len(own), sizes[dist.get_rank(group)])
    return _exchange(own.repeat(len(sizes), *[1] * (own.dim() - 1)), [len(own)] * len(sizes), sizes, group)


def reduce_scatter(partial: torch.Tensor, sizes: Sequence[int], group: ProcessGroup) -> torch.Tensor:
    """Each rank's [N, ...] -> on every rank the sum over ranks of its own [n, ...]; `sizes` as above.

    The sum is taken in float32 at the least, in rank order, so that it does not depend on the backend. Raises
    ValueError where the tensor has another size than all of `sizes` together.
    """
    _check_size("partial", len(partial), sum(sizes))
    num_own = sizes[dist.get_rank(group)]
    parts = _exchange(partial, sizes, [num_own] * len(sizes), group)
    wide = torch.promote_types(partial.dtype, torch.float32)
    return parts.view(len(sizes), num_own, *partial.shape[1:]).sum(0, dtype=wide).to(partial.dtype)


@dataclass(frozen=True)
class Dispatched:
    """What `dispatch` brought to this rank, and the way back."""

    tokens: torch.Tensor
    """[M, D], a row a choice: a token with two experts here comes twice. By sender, and then by expert."""
    experts: torch.Tensor
    """[M] int64, the expert of each row by its number on this rank."""
    order: torch.Tensor
    """[n K] int64, which of this rank's own choices stands where among those it sent."""
    num_sent: list[int]
    """[R] choices, by the rank they went to."""
    num_received: list[int]
    """[R] choices, by the rank they came from; M in all."""


def dispatch(
    tokens: torch.Tensor, experts: torch.Tensor, num_experts: int, group: ProcessGroup
) -> Dispatched:
    """Send each of this rank's tokens [n, D] to the ranks of its experts [n, K]; n may be 0.

    Rank r has the r-th of R equal parts of the E `num_experts`; with redundant experts these are physical
    ones. Raises ValueError when they do not divide, or an expert is not among them.
    """
    num_ranks = dist.get_world_size(group)
    per_rank, rest = divmod(num_experts, num_ranks)
    if rest:
        raise ValueError(f"num_experts={num_experts} do not divide over {num_ranks} ranks")
    chosen = experts.flatten().long()
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < num_experts:
        raise ValueError(f"experts={chosen.min()}..{chosen.max()} but num_experts={num_experts}")
    order = chosen.argsort(stable=True)
    sent = torch.bincount(chosen // per_rank, minlength=num_ranks)
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    num_sent, num_received = sent.tolist(), received.tolist()
    return Dispatched(
        tokens=_exchange(tokens[order // experts.shape[1]], num_sent, num_received, group),
        experts=_exchange(chosen[order] % per_rank, num_sent, num_received, group),
        order=order,
        num_sent=num_sent,
        num_received=num_received,
    )


def combine(
    outputs: torch.Tensor, dispatched: Dispatched, weights: torch.Tensor, group: ProcessGroup
) -> torch.Tensor:
    """The experts' `outputs` [M, D], row for row as dispatched -> on this rank its tokens' sums [n, D].

    `weights` [n, K] of this rank's own choices are applied here, in float32 at the least.
    """
    sorted_outputs = _exchange(outputs, dispatched.num_received, dispatched.num_sent, group)
    by_choice = torch.empty_like(sorted_outputs)
    by_choice[dispatched.order] = sorted_outputs
    wide = torch.promote_types(outputs.dtype, torch.float32)
    weighted = by_choice.view(*weights.shape, outputs.shape[1]).to(wide) * weights.unsqueeze(-1).to(wide)
    return weighted.sum(1).to(outputs.dtype)


def _exchange(
    rows: torch.Tensor, num_sent: Sequence[int], num_received: Sequence[int], group: ProcessGroup
) -> torch.Tensor:
    """Cut rows [sum num_sent, ...] among the ranks, and join what comes from them, in rank order."""
    found = rows.new_empty(sum(num_received), *rows.shape[1:])
    dist.all_to_all_single(found, rows.contiguous(), list(num_received), list(num_sent), group)
    return found


def _check_size(name: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise ValueError(f"{name} has {found} rows, but sizes say {wanted}")
