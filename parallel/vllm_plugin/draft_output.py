"""How does the draft head choose its tokens from an FP8 copy of the output layer?

Each draft token reads the output layer once. It is the largest matrix of the model, 1 GiB in BF16, and
reading it takes more than half of the time that a draft token of one request takes. What is proposed is
verified with the target's own layer, so the copy can change how many drafts are accepted, but no answer. It
takes another half of the layer's memory.
"""

from typing import Any

import torch
from torch.nn.functional import ScalingType, scaled_mm

_LARGEST = torch.finfo(torch.float8_e4m3fn).max


class Fp8Output:
    """A copy of an output layer [vocab, hidden], with what `LogitsProcessor` asks such a layer for.

    Both factors have a scale for each row: a token of the vocabulary, and a sequence.
    """

    def __init__(self, layer: Any) -> None:
        self.tp_size, self.shard_indices = layer.tp_size, layer.shard_indices
        self.quant_method = self
        self._weight, self._scale = quantised(layer.weight)

    def apply(self, layer: Any, hidden: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """[n, hidden] -> [n, vocab], in the type of `hidden`."""
        logits = (_on_cuda if hidden.is_cuda else _anywhere)(hidden, self._weight, self._scale)
        return logits if bias is None else logits + bias


def quantised(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[n, m] -> FP8 (E4M3) [n, m], and the scale [n, 1] of each row, whose largest value becomes 448."""
    scale = rows.abs().amax(-1, keepdim=True).float().clamp_min(1e-12) / _LARGEST
    return (rows / scale).to(torch.float8_e4m3fn), scale


def _on_cuda(hidden: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """By vLLM's own kernels, which take two thirds of the time of PyTorch's at up to 16 rows."""
    from vllm import _custom_ops as ops

    rows, row_scale = ops.scaled_fp8_quant(hidden, use_per_token_if_dynamic=True)
    return ops.cutlass_scaled_mm(rows, weight.t(), row_scale, scale, hidden.dtype)


def _anywhere(hidden: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    rows, row_scale = quantised(hidden)
    by_row = ScalingType.RowWise
    return scaled_mm(rows, weight.t(), row_scale, by_row, scale.t(), by_row, output_dtype=hidden.dtype)
