"""Why does the CPU build expand sampling parameters over draft tokens with our function?

Reason: to sample under speculation, vLLM repeats each request's temperature, top_k and top_p once a draft
token. The CPU build does this with a kernel for int64 alone: other types are converted first, and the result
stays in the converted copy. What is then used as temperature, top_k and top_p is memory that nobody wrote.
Upstream symptom (vllm#55005): with a draft head on CPU, every answer at a temperature above 0 is noise, or
the engine dies of `index ... is out of bounds for dimension 1`; at temperature 0 all is well.
No longer needed when: `vllm.utils.cpu_triton_utils._expand_kernel_impl` fills a float32 `output`.
"""

from collections.abc import Callable

import torch


class Expand:
    """Called as vLLM calls its kernels, `expand_kernel[grid](...)`; the grid is of no importance here."""

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        """The function itself."""
        return expand


def expand(
    output: torch.Tensor,
    values: torch.Tensor,
    ends: torch.Tensor,
    replace_from: float,
    replace_to: float,
    MAX_NUM_TOKENS: int = 0,  # noqa: N803 - vLLM passes it by this name
) -> None:
    """Write each of `values` [B] to its places in `output` [T]; `ends` [B] has where each one's places end.

    A value equal to `replace_from` becomes `replace_to`. All types of numbers are taken as they are.
    """
    replaced = torch.where(values == replace_from, torch.full_like(values, replace_to), values)
    counts = ends.diff(prepend=ends.new_zeros(1))
    output.copy_(replaced.repeat_interleave(counts))


def in_effect() -> bool:
    """Whether vLLM's CPU build expands with our function."""
    from vllm.utils import cpu_triton_utils

    return isinstance(cpu_triton_utils.expand_kernel, Expand)


def install() -> None:
    """Put our function where the CPU model runner takes its kernels from."""
    from vllm.utils import cpu_triton_utils

    if not in_effect():
        cpu_triton_utils.expand_kernel = Expand()
