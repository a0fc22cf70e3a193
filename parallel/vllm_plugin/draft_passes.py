"""How often does a GPU engine pass through its draft head, where fewer drafts are to be verified?

Reason: vLLM's model runner V2 has the head propose `num_speculative_tokens` in every step. The scheduler says
how many it wants (`num_spec_tokens_to_schedule`), which runner V1 heeds, and V2 does not.
Upstream symptom (vLLM 0.29.0): no error; drafts that nobody verifies take as long as those that count. Where
the attention of the head allows it (TRITON_MLA), all passes are one CUDA graph, which cannot be cut short:
there they become one graph each, as they are elsewhere.
No longer needed when: `AutoRegressiveSpeculator` reads `num_spec_tokens_to_schedule`.
"""

from collections.abc import Callable
from typing import Any

from vllm.v1.worker.gpu.model_runner import GPUModelRunner
from vllm.v1.worker.gpu.spec_decode.autoregressive.speculator import AutoRegressiveSpeculator

from parallel.vllm_plugin import DRAFT_LENGTH

_execute_upstream: Callable[..., Any] = GPUModelRunner.execute_model
_configure_upstream: Callable[[Any], None] = AutoRegressiveSpeculator._configure_fused_multi_step_decode
_decode_upstream: Callable[..., None] = AutoRegressiveSpeculator._multi_step_decode


def execute_model(self: Any, scheduled: Any, *args: Any, **kwargs: Any) -> Any:
    """Take a step as upstream does, with the head told how many drafts the next one verifies.

    vLLM's own warm-up asks for none, and means all: our scheduler asks for one at least.
    """
    if DRAFT_LENGTH in self.vllm_config.additional_config:
        self.speculator.num_wanted = scheduled.num_spec_tokens_to_schedule or None
    return _execute_upstream(self, scheduled, *args, **kwargs)


def configure(self: Any) -> None:
    """Decide as upstream does whether all passes are one graph; not where their number changes."""
    _configure_upstream(self)
    if DRAFT_LENGTH in self.vllm_config.additional_config:
        self.use_fused_multi_step_decode = False


def multi_step_decode(self: Any, *args: Any, **kwargs: Any) -> None:
    """Pass as often as drafts are wanted; the first pass, which keeps the head's cache, has been."""
    most = self.num_speculative_steps
    self.num_speculative_steps = getattr(self, "num_wanted", None) or most
    try:
        _decode_upstream(self, *args, **kwargs)
    finally:
        self.num_speculative_steps = most


def in_effect() -> bool:
    """Whether all three are ours."""
    return bool(
        GPUModelRunner.execute_model is execute_model
        and AutoRegressiveSpeculator._configure_fused_multi_step_decode is configure
        and AutoRegressiveSpeculator._multi_step_decode is multi_step_decode
    )


def install() -> None:
    """Let every runner of this kind do so."""
    GPUModelRunner.execute_model = execute_model
    AutoRegressiveSpeculator._configure_fused_multi_step_decode = configure
    AutoRegressiveSpeculator._multi_step_decode = multi_step_decode
