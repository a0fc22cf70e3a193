"""Why do random weights in NVFP4 get a scale that is not random?

Reason: `load_format: dummy` draws every tensor between -0.001 and 0.001. Of an NVFP4 weight the scale of the
whole tensor is what it is divided by, so all of it grows a thousand- or a millionfold, and what experts add
drowns what tells one token from another.
Upstream symptom (vLLM 0.29.0): no error. By its kernels nearly all tokens go to the same experts: those of
six layers took 215 us with one request and 216 with 8, where independent tokens choose 28 experts a layer.
No longer needed when: `parallel profile --weights nvfp4` shows more time in routed experts at 8 requests than
at one without it.
"""

from collections.abc import Callable
from typing import Any

from vllm.model_executor.model_loader import dummy_loader

SUFFIX = "global_scale"
GLOBAL_SCALE = 1e4
"""About what a checkpoint has: 448 times 6 over the largest weight of a tensor, which is some tenths."""

_initialize_upstream: Callable[..., None] = dummy_loader.initialize_dummy_weights


def initialize(model: Any, *args: Any, **kwargs: Any) -> None:
    """Draw the weights of a module as upstream does, but for the scales of whole tensors."""
    _initialize_upstream(model, *args, **kwargs)
    for name, tensor in model.state_dict().items():
        if name.endswith(SUFFIX):
            tensor.fill_(GLOBAL_SCALE)


def in_effect() -> bool:
    """Whether random weights are drawn by our function."""
    return bool(dummy_loader.initialize_dummy_weights is initialize)


def install() -> None:
    """Draw them so wherever vLLM fills a model with random weights."""
    dummy_loader.initialize_dummy_weights = initialize
