"""Compile the expert kernel for Hopper where there is no GPU: a script of `test_ahead.py`.

Prints a line a case: shared memory and hash of both kernels of a layer. Triton needs a driver to say what it
compiles for, and vLLM a name to take Triton for usable at all.
"""

import importlib.metadata
import json
import sys
from typing import Any

import torch
from triton.backends import backends
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

_version = importlib.metadata.version


class Hopper:
    """A driver of a GPU that is not there."""

    def get_current_target(self) -> GPUTarget:
        """Compute capability 9.0."""
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The default one."""
        return 0

    def get_active_torch_device(self) -> Any:
        """Where tensors would be."""
        return torch.device("meta")


def main() -> None:
    """Compile the cases on standard input: [shape, batch, configuration]."""
    vars(importlib.metadata)["version"] = lambda name: "0.29.0" if name == "vllm" else _version(name)
    driver.set_active(Hopper())
    vars(backends["nvidia"])["driver"].is_active = staticmethod(lambda: True)

    from vllm.platforms import interface

    # Those of the CPU build are for another platform, and for processors that this one may not be.
    type.__setattr__(interface.Platform, "import_kernels", classmethod(lambda cls: None))

    from vllm.model_executor.layers.fused_moe import fused_moe

    vars(fused_moe)["enable_swap_ab"] = lambda block_m, block_n: block_m < 64 <= block_n

    from deploy.kernels.meta import run
    from deploy.kernels.shapes import SHAPES
    from deploy.kernels.space import Config

    for shape, batch, config in json.load(sys.stdin):
        kernels = run(SHAPES[shape], batch, Config(*config))
        print(json.dumps([[kernel.metadata.shared, kernel.hash] for kernel in kernels]))


if __name__ == "__main__":
    main()
