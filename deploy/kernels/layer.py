"""How does vLLM compute one layer's routed experts with a given kernel configuration?

The same calls in the same order as `TritonExperts.apply` of vLLM 0.29.0, for the checkpoint's scheme: FP8
with one scale an expert, and one fixed scale for all activations (`qscheme_act: TENSOR`). The input is FP8
already, as the layer's first quantisation does not depend on the configuration.
"""

from dataclasses import dataclass
from typing import Any

import torch
from vllm import _custom_ops as ops
from vllm.model_executor.layers.fused_moe import fused_moe
from vllm.model_executor.layers.fused_moe.activation import MoEActivation, apply_moe_activation
from vllm.model_executor.layers.fused_moe.utils import moe_kernel_quantize_input

from deploy.kernels.shapes import Shape
from deploy.kernels.space import Config

DTYPE = "fp8_w8a8"
"""vLLM's word for the scheme, in the names of its files."""

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max
ACTIVATION_SCALE = 0.02
WEIGHT_SCALE = 0.001
"""Chosen so that values stay well within FP8's and BF16's ranges at every step."""


@dataclass(frozen=True)
class Inputs:
    """One step's tokens, and the experts that they are routed to."""

    hidden: Any  # [batch, hidden], FP8
    ids: Any  # [batch, top_k], int32: experts of the whole model
    weights: Any  # [batch, top_k], float32


class Layer:
    """One layer's experts on one rank: random weights, on a GPU or (for compiling alone) nowhere."""

    def __init__(self, shape: Shape, max_batch: int, device: str, seed: int = 0) -> None:
        self.shape, self.device = shape, device
        if device != "meta":
            torch.manual_seed(seed)
        local, width, hidden = shape.local_experts, shape.width, shape.hidden
        # w1 [local, 2 width, hidden], w2 [local, hidden, width]
        self.w1, self.w2 = self._random(local, 2 * width, hidden), self._random(local, hidden, width)
        self.weight_scale = torch.full((local,), WEIGHT_SCALE, device=device)
        self.input_scale = torch.full((1,), ACTIVATION_SCALE, device=device)
        self.expert_map = self._expert_map() if shape.divided else None
        rows = max_batch * shape.top_k
        self._gate_up, self._activated, self._down, self._out = (
            torch.empty(size, dtype=torch.bfloat16, device=device)
            for size in (rows * 2 * width, rows * width, rows * hidden, max_batch * hidden)
        )

    def inputs(self, batch: int, skew: float = 0.0) -> Inputs:
        """Random tokens; expert number i of a random order is chosen in proportion to 1 / i ** skew.

        Without replacement, by adding Gumbel noise to the logarithms and taking the largest `top_k`.
        """
        shape, on = self.shape, {"device": self.device}
        if self.device == "meta":
            ids = torch.empty(batch, shape.top_k, dtype=torch.int32, **on)
        else:
            rank = torch.randperm(shape.experts, **on).float() + 1
            noise = -torch.log(-torch.log(torch.rand(batch, shape.experts, **on).clamp(1e-9, 1 - 1e-7)))
            ids = (noise - skew * rank.log()).topk(shape.top_k, dim=1).indices.to(torch.int32)
        weights = torch.full((batch, shape.top_k), 1 / shape.top_k, dtype=torch.float32, **on)
        return Inputs(self._random(1, batch, shape.hidden)[0], ids.contiguous(), weights)

    def run(self, inputs: Inputs, config: Config) -> Any:
        """[batch, hidden] in BF16: a view of a buffer that the next run overwrites."""
        shape, values = self.shape, config.to_vllm()
        batch = inputs.ids.size(0)
        rows = batch * shape.top_k
        gate_up = self._gate_up[: rows * 2 * shape.width].view(batch, shape.top_k, 2 * shape.width)
        activated = self._activated[: rows * shape.width].view(rows, shape.width)
        down = self._down[: rows * shape.hidden].view(batch, shape.top_k, shape.hidden)
        out = self._out[: batch * shape.hidden].view(batch, shape.hidden)
        assignment = fused_moe._prepare_expert_assignment(
            inputs.ids, values, batch, shape.top_k, shape.experts, self.expert_map
        )
        self._multiply(
            inputs.hidden, self.w1, gate_up, self.input_scale, None, assignment, shape.top_k, values
        )
        apply_moe_activation(MoEActivation.SILU, activated, gate_up.view(rows, -1))
        quantized, scale = moe_kernel_quantize_input(activated, self.input_scale, FP8, False, None)
        self._multiply(quantized, self.w2, down, scale, inputs.weights, assignment, 1, values)
        ops.moe_sum(down, out)
        return out

    def poison(self) -> None:
        """Fill every buffer with NaN, so that what a run does not write shows."""
        for buffer in (self._gate_up, self._activated, self._down, self._out):
            buffer.fill_(float("nan"))

    def reference(self, inputs: Inputs) -> Any:
        """[batch, hidden] in float32: the same sums by PyTorch, expert by expert; for small batches."""
        hidden = inputs.hidden.float() * ACTIVATION_SCALE
        out = torch.zeros(hidden.shape, device=self.device)
        for token, expert, weight in (
            (token, int(expert), inputs.weights[token, place])
            for token, row in enumerate(inputs.ids)
            for place, expert in enumerate(row)
            if expert < self.shape.local_experts
        ):
            gate, up = (self.w1[expert].float() * WEIGHT_SCALE @ hidden[token]).bfloat16().chunk(2)
            activated = (torch.nn.functional.silu(gate.float()) * up.float()).bfloat16().float()
            # As the kernel does it: a conversion alone would make NaN of what is too large for FP8.
            scaled = (activated / ACTIVATION_SCALE).clamp(-FP8_MAX, FP8_MAX)
            rounded = scaled.to(FP8).float() * ACTIVATION_SCALE
            out[token] += weight * (self.w2[expert].float() * WEIGHT_SCALE @ rounded)
        return out

    def _multiply(
        self, a: Any, b: Any, c: Any, scale: Any, weights: Any, assignment: Any, top_k: int, config: Any
    ) -> None:
        fused_moe.invoke_fused_moe_triton_kernel(
            a,
            b,
            c,
            scale,
            self.weight_scale,
            weights,
            *assignment,
            weights is not None,
            top_k,
            config,
            compute_type=fused_moe.tl.bfloat16,
            use_fp8_w8a8=True,
            use_int8_w8a8=False,
            use_int8_w8a16=False,
            use_int4_w4a16=False,
            per_channel_quant=False,
            block_shape=None,
        )

    def _random(self, *size: int) -> Any:
        """Normal values of standard deviation 32 in FP8, an expert at a time (all at once: 13 GB)."""
        tensor = torch.empty(size, dtype=FP8, device=self.device)
        if self.device != "meta":
            for part in tensor:
                part.copy_((32 * torch.randn(part.shape, device=self.device)).clamp(-440, 440))
        return tensor

    def _expert_map(self) -> Any:
        """[experts]: this rank's number of an expert, -1 for another rank's; this is the first rank."""
        places = torch.full((self.shape.experts,), -1, dtype=torch.int32, device=self.device)
        if self.device != "meta":
            places[: self.shape.local_experts] = torch.arange(self.shape.local_experts, device=self.device)
        return places


def default_config(shape: Shape, batch: int) -> Config:
    """What vLLM takes without any file."""
    return Config.from_vllm(
        fused_moe.get_default_config(
            batch, shape.local_experts, shape.width, shape.hidden, shape.top_k, DTYPE, None
        )
    )


def shipped_configs(shape: Shape) -> dict[int, Config]:
    """What vLLM itself ships for this shape on this device, by batch; empty if nothing."""
    found = fused_moe.get_moe_configs(shape.local_experts, shape.width, DTYPE)
    return {batch: Config.from_vllm(values) for batch, values in (found or {}).items()}


def file_name(shape: Shape) -> str:
    """The name under which vLLM looks for tuned configurations on this device."""
    name: str = fused_moe.get_config_file_name(shape.local_experts, shape.width, DTYPE)
    return name
