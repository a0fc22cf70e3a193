"""What does the EAGLE draft head need from its target's model classes, and what must it leave alone?

Reason: vLLM's draft head borrows methods of two classes without what those methods rely on.
`EagleMistralLarge3Model` skips the constructor of the class whose `load_weights` it inherits, which reads a
flag only that constructor sets; and `EagleMistralLarge3ForCausalLM` copies `embed_input_ids` out of a class
with a vision tower, but not its helper. And it writes its own model configuration over the target's in the
engine configuration that it is given, which on GPUs (model runner V2) is the engine's own.
Upstream symptoms: when the draft head loads, `AttributeError: 'EagleMistralLarge3Model' object has no
attribute 'is_fused_shared_expert_enabled'`; once that is mended, on a GPU a target with a vision tower does
not start: `ValueError: <the draft head> is not a multimodal model`; and at the first draft for such a target
(text prompts too) the engine dies of `AttributeError: 'EagleMistralLarge3ForCausalLM' object has no attribute
'_embed_text_input_ids'`.
No longer needed when: `EagleMistralLarge3Model.__init__` sets `is_fused_shared_expert_enabled` itself,
`EagleMistralLarge3ForCausalLM` has an attribute `_embed_text_input_ids`, and its `__init__` leaves
`vllm_config.model_config` as it was.
"""

import copy
from typing import Any

import torch
from vllm.model_executor.layers.fused_moe.utils import is_model_fused_shared_expert_compatible
from vllm.model_executor.models.deepseek_v2 import DeepseekV2MoE
from vllm.model_executor.models.interfaces import SupportsMultiModal
from vllm.model_executor.models.mistral_large_3_eagle import EagleMistralLarge3ForCausalLM

from parallel.vllm_plugin import FP8_DRAFT_OUTPUT
from parallel.vllm_plugin.draft_output import Fp8Output


class CompleteEagle(EagleMistralLarge3ForCausalLM):
    """The draft head with the flag, as the skipped constructor computes it, and with the helper.

    The engine configuration stays its target's.
    """

    _embed_text_input_ids = SupportsMultiModal._embed_text_input_ids
    # The placeholder of an image is a token of the vocabulary like any other, in target and draft alike.
    _has_oov_mm_tokens = False

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=copy.copy(vllm_config), prefix=prefix)
        self.model.is_fused_shared_expert_enabled = is_model_fused_shared_expert_compatible(
            self.model.layers, DeepseekV2MoE, "mlp"
        )
        self._has_fp8_output = bool(vllm_config.additional_config.get(FP8_DRAFT_OUTPUT))
        self._fp8_output: Fp8Output | None = None

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """[n, hidden] -> [n, vocab]; the first call, when vLLM tries how much memory it needs, copies."""
        if not self._has_fp8_output:
            return super().compute_logits(hidden_states)
        if self._fp8_output is None:
            self._fp8_output = Fp8Output(self.lm_head)  # the target's, which it is given after it is built
        return self.logits_processor(self._fp8_output, hidden_states)
