"""How does vLLM compute one layer's routed experts with CUTLASS's grouped product?

The call of `CutlassExpertsFp8.apply` of vLLM 0.29.0 on the weights of a `Layer`.
"""

from typing import Any

import torch
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.experts.cutlass_moe import run_cutlass_moe_fp8
from vllm.model_executor.layers.fused_moe.moe_permute_unpermute import MoEPermuteScratch

from deploy.kernels.layer import Inputs, Layer


class CutlassLayer:
    """The same experts as a `Layer`'s, in buffers of its own."""

    def __init__(self, layer: Layer, max_batch: int) -> None:
        self.layer, shape, device = layer, layer.shape, layer.device
        experts, width, hidden = shape.local_experts, shape.width, shape.hidden
        self._strides = [
            torch.full((experts,), size, dtype=torch.int64, device=device)
            for size in (hidden, width, 2 * width)
        ]
        rows = max_batch * shape.top_k
        self._workspaces = [
            torch.empty(rows * size, dtype=torch.bfloat16, device=device)
            for size in (max(2 * width, hidden), max(width, hidden))
        ]
        self._out = torch.empty(max_batch * hidden, dtype=torch.bfloat16, device=device)
        self._scratch = MoEPermuteScratch(
            max_batch, shape.top_k, shape.experts, experts, torch.device(device)
        )

    def run(self, inputs: Inputs) -> Any:
        """[batch, hidden] in BF16: a view of a buffer that the next run overwrites."""
        layer, shape, (hidden, width, twice) = self.layer, self.layer.shape, self._strides
        batch = inputs.ids.size(0)
        out = self._out[: batch * shape.hidden].view(batch, shape.hidden)
        run_cutlass_moe_fp8(
            out,
            inputs.hidden,
            layer.w1,
            layer.w2,
            inputs.ids,
            MoEActivation.SILU,
            shape.experts,
            layer.expert_map,
            layer.weight_scale,
            layer.weight_scale,
            layer.input_scale,
            layer.input_scale,
            hidden,
            width,
            twice,
            hidden,
            *self._workspaces,
            None,
            torch.bfloat16,
            False,
            False,
            False,
            inputs.weights,
            self._scratch,
        )
        return out

    def poison(self) -> None:
        """Fill every buffer with NaN, so that what a run does not write shows."""
        for buffer in (*self._workspaces, self._out):
            buffer.fill_(float("nan"))
