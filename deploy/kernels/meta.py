"""What does a layer of experts launch, when there is no memory to run it in?

Imported by worker processes only: it replaces, for good, the kernel's launch by its compilation, and the
three operators of vLLM that know no meta tensors by ones that do nothing.
"""

from functools import lru_cache
from typing import Any

import torch
from vllm import _custom_ops as ops
from vllm.model_executor.layers.fused_moe import fused_moe

from deploy.kernels import layer as layers
from deploy.kernels.shapes import Shape
from deploy.kernels.space import Config


class CompileOnly:
    """Stands in for a Triton kernel: launching it compiles it."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.compiled: list[Any] = []

    def __getitem__(self, grid: object) -> Any:
        """The launcher for a grid, of which compilation needs to know nothing."""

        def launch(*args: object, **options: object) -> None:
            self.compiled.append(self.kernel.warmup(*args, grid=(1,), **options))

        return launch


def _nothing(*_: object, **__: object) -> None:
    """In place of an operator that writes to one of its arguments."""


def _quantize(activated: Any, scale: Any, *_: object) -> tuple[Any, Any]:
    return torch.empty(activated.shape, dtype=layers.FP8, device=activated.device), scale


fused_moe.fused_moe_kernel = CompileOnly(fused_moe.fused_moe_kernel)
ops.moe_align_block_size = _nothing
ops.moe_sum = _nothing
vars(layers).update(apply_moe_activation=_nothing, moe_kernel_quantize_input=_quantize)


@lru_cache
def _layer(shape: Shape) -> layers.Layer:
    return layers.Layer(shape, 4096, "meta")


def run(shape: Shape, batch: int, config: Config) -> list[Any]:
    """Compile what the layer launches for a batch; return the compiled kernels, gate and up first."""
    layer, kernel = _layer(shape), fused_moe.fused_moe_kernel
    kernel.compiled.clear()
    layer.run(layer.inputs(batch), config)
    return list(kernel.compiled)
