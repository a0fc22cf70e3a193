"""Which collectives does expert parallelism need that vLLM's CPU communicator lacks?

Reason: with data parallelism the ranks hold different numbers of tokens. vLLM gathers all ranks' tokens
before the experts and gives each rank its own sums afterwards, with collectives of uneven sizes; gloo has
none of them.
Upstream symptom, at the first step with `data_parallel_size` 2 and `enable_expert_parallel`: the engine core
dies of a bare `NotImplementedError`, raised in `all_gatherv`.
No longer needed when: `CpuCommunicator` defines `all_gatherv` and `reduce_scatterv`.

Shape legend: n_r tokens of rank r, N their sum over the group's ranks, D any trailing dimensions.
"""

import torch
import torch.distributed as dist
from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator


class UnevenCpuCommunicator(CpuCommunicator):
    """vLLM's CPU communicator with the collectives of uneven sizes, built from even ones."""

    def all_gatherv(
        self, input_: torch.Tensor | list[torch.Tensor], dim: int = 0, sizes: list[int] | None = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Each rank's [n_r, D] -> on every rank [N, D], in rank order; a list of tensors gives a list.

        `sizes` holds n_r of every rank; without it all ranks hold as many as this one.
        """
        if dim != 0:
            raise ValueError(f"all_gatherv gathers along dimension 0, not {dim}")
        if isinstance(input_, list):
            return [self._gather(tensor, sizes) for tensor in input_]
        return self._gather(input_, sizes)

    def _gather(self, tensor: torch.Tensor, sizes: list[int] | None) -> torch.Tensor:
        sizes = sizes or [len(tensor)] * self.world_size
        assert sizes[self.rank_in_group] == len(tensor), (
            f"{sizes=} but rank {self.rank_in_group} has {len(tensor)}"
        )
        gathered = tensor.new_empty(sum(sizes), *tensor.shape[1:])
        for rank, part in enumerate(gathered.split(sizes)):
            if rank == self.rank_in_group:
                part.copy_(tensor)
            if len(part):
                dist.broadcast(part, src=self.ranks[rank], group=self.device_group)
        return gathered

    def reduce_scatterv(
        self, input_: torch.Tensor, dim: int = -1, sizes: list[int] | None = None
    ) -> torch.Tensor:
        """Each rank's [N, D] -> on rank r the sum over ranks of its n_r entries along `dim`.

        `sizes` holds n_r of every rank; without it N is divided evenly. The sum is taken in float32.
        """
        if sizes is None:
            even, rest = divmod(input_.shape[dim], self.world_size)
            assert rest == 0, f"{input_.shape[dim]} entries do not divide among {self.world_size} ranks"
            sizes = [even] * self.world_size
        assert sum(sizes) == input_.shape[dim], f"{sizes=} but {input_.shape[dim]} entries"
        # A copy, also of a float32 tensor: the caller's input must keep its values.
        total = input_.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=self.device_group)
        own = total.split(sizes, dim)[self.rank_in_group]
        return own.to(input_.dtype).contiguous()

    def reduce_scatter(self, input_: torch.Tensor, dim: int = -1) -> torch.Tensor:
        """`reduce_scatterv` with even sizes."""
        return self.reduce_scatterv(input_, dim)
