"""Why does the EAGLE draft head get two things from its target's model classes?

Reason: vLLM's draft head borrows methods of two classes without what those methods rely on.
`EagleMistralLarge3Model` skips the constructor of the class whose `load_weights` it inherits, which reads a
flag only that constructor sets; and `EagleMistralLarge3ForCausalLM` copies `embed_input_ids` out of a class
with a vision tower, but not its helper.
Upstream symptoms: when the draft head loads, `AttributeError: 'EagleMistralLarge3Model' object has no
attribute 'is_fused_shared_expert_enabled'`; once that is mended, at the first draft for a target with a
vision tower (text prompts too), the engine dies of `AttributeError: 'EagleMistralLarge3ForCausalLM' object
has no attribute '_embed_text_input_ids'`.
No longer needed when: `EagleMistralLarge3Model.__init__` sets `is_fused_shared_expert_enabled` itself, and
`EagleMistralLarge3ForCausalLM` has an attribute `_embed_text_input_ids`.
"""

from typing import Any

from vllm.model_executor.layers.fused_moe.utils import is_model_fused_shared_expert_compatible
from vllm.model_executor.models.deepseek_v2 import DeepseekV2MoE
from vllm.model_executor.models.interfaces import SupportsMultiModal
from vllm.model_executor.models.mistral_large_3_eagle import EagleMistralLarge3ForCausalLM


class CompleteEagle(EagleMistralLarge3ForCausalLM):
    """The draft head with the flag, as the skipped constructor computes it, and with the helper."""

    _embed_text_input_ids = SupportsMultiModal._embed_text_input_ids
    # The placeholder of an image is a token of the vocabulary like any other, in target and draft alike.
    _has_oov_mm_tokens = False

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.model.is_fused_shared_expert_enabled = is_model_fused_shared_expert_compatible(
            self.model.layers, DeepseekV2MoE, "mlp"
        )
