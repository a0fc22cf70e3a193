"""Which collectives does expert parallelism need that vLLM's CPU communicator lacks?

Reason: with data parallelism the ranks hold different numbers of tokens. vLLM gathers all ranks' tokens
before the experts and gives each rank its own sums afterwards, with collectives of uneven sizes; gloo has
none of them. `parallel.collectives` makes them of one that it has.
Upstream symptom, at the first step with `data_parallel_size` 2 and `enable_expert_parallel`: the engine core
dies of a bare `NotImplementedError`, raised in `all_gatherv`.
No longer needed when: `CpuCommunicator` defines `all_gatherv` and `reduce_scatterv`.

Shape legend: n_r tokens of rank r, N their sum over the group's ranks, D any trailing dimensions.
"""

import torch
from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

from parallel import collectives


class UnevenCpuCommunicator(CpuCommunicator):
    """vLLM's CPU communicator with the collectives of uneven sizes."""

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
        return collectives.all_gather(tensor, sizes or [len(tensor)] * self.world_size, self.device_group)

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
        own = collectives.reduce_scatter(input_.movedim(dim, 0), sizes, self.device_group)
        return own.movedim(0, dim).contiguous()

    def reduce_scatter(self, input_: torch.Tensor, dim: int = -1) -> torch.Tensor:
        """`reduce_scatterv` with even sizes."""
        return self.reduce_scatterv(input_, dim)
