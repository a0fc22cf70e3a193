"""Which steps are one CUDA graph in an engine whose number of verified drafts changes?

Reason: vLLM's model runner V2 records whole decode steps for the numbers of drafts in a schedule by batch
size, and without one for the largest number alone. Here a controller chooses (`draft_length`), so that any
number may come; and a schedule that has them all is not to be had, since it also counts the passes of the
draft head after its first, which are of one token each whatever is verified. Nor would each step find its
graph: vLLM offers those of the next larger size, which may all be of other numbers.
Upstream symptom (vLLM 0.29.0): with a schedule in which one fewer than `num_speculative_tokens` appears, an
engine with an EAGLE head ends as it starts (`ZeroDivisionError`). Without one a step that verifies fewer runs
in pieces, with attention launched between them: 22 to 24 ms on an H200 where a whole graph takes 6 to 13.
No longer needed when: `CudaGraphManager._init_candidates` takes query lengths that it is given.
"""

from collections.abc import Callable, Sequence
from typing import Any

from vllm.config.compilation import CUDAGraphMode
from vllm.v1.worker.gpu.cudagraph_utils import CudaGraphManager

from parallel.vllm_plugin import DRAFT_LENGTH

_candidates_upstream: Callable[[CudaGraphManager], None] = CudaGraphManager._init_candidates


class Scheduled:
    """Stands for an engine's configuration where vLLM asks it which numbers of drafts may come."""

    def __init__(self, most: int, numbers: Sequence[int]) -> None:
        self.speculative_config = self
        self.num_speculative_tokens = most
        self.num_speculative_tokens_per_batch_size = [
            (batch, batch, number) for batch, number in enumerate(numbers, 1)
        ]

    def uses_dynamic_speculative_decoding(self) -> bool:
        """Whether there is a schedule; without one the steps are those of the manager's own length."""
        return bool(self.num_speculative_tokens_per_batch_size)


def candidates(manager: CudaGraphManager) -> None:
    """Work out the graphs of a manager as upstream does, of each number of drafts where that changes.

    An engine with fewer places than numbers has graphs for as many of them: the largest, and the smallest.
    """
    config = manager.vllm_config
    if DRAFT_LENGTH not in config.additional_config:
        _candidates_upstream(manager)
        return
    most = config.num_speculative_tokens
    numbers = [most, *range(most)] if manager.decode_query_len == most + 1 else []
    manager.vllm_config = Scheduled(most, numbers)
    try:
        _candidates_upstream(manager)
    finally:
        manager.vllm_config = config
    _offer(manager)


def _offer(manager: CudaGraphManager) -> None:
    """Offer every step the next larger whole graph of each number of drafts, and then what it had else."""
    whole = sorted(
        manager._capture_descs.get(CUDAGraphMode.FULL, ()), key=lambda described: described.num_tokens
    )
    for (num_tokens, loras), offered in manager._candidates.items():
        next_larger: dict[int | None, Any] = {}
        for described in whole:
            if described.num_tokens >= num_tokens and described.num_active_loras == loras:
                next_larger.setdefault(described.uniform_token_count, described)
        rest = [described for described in offered if described.cg_mode != CUDAGraphMode.FULL]
        manager._candidates[num_tokens, loras] = [*next_larger.values(), *rest]


def in_effect() -> bool:
    """Whether graphs are worked out by our function."""
    return bool(CudaGraphManager._init_candidates is candidates)


def install() -> None:
    """Work them out so in every manager of graphs, the target's and the draft head's."""
    CudaGraphManager._init_candidates = candidates
