"""Why do layers hand one single token on whole, when tp ranks otherwise hand on a share each?

Reason: with dp, tp and expert parallelism, each tp rank passes its share of the tokens on to the next layer,
rounded up by padding. The next layer tells a share from the whole by the number of rows. One token makes a
share of one row, on rank 0 the token and on the others padding: taken for the whole, each rank attends for
another row, and the sum over ranks is of no token at all.
Upstream symptom (vllm#50154): without compilation, whenever a dp group decodes exactly one token, its
answer goes astray.
No longer needed when: `DeepseekV2DecoderLayer.forward` does not compare `hidden_states.shape[0]` with the
number of positions.

Compiled code is right by luck: it was traced with many tokens, and the comparison is not made again.
"""

from typing import Any

import torch
from vllm.distributed import tensor_model_parallel_all_gather
from vllm.model_executor.models.mistral_large_3 import MistralLarge3ForCausalLM

States = tuple[torch.Tensor, torch.Tensor]


def whole(layer: torch.nn.Module, arguments: tuple[torch.Tensor, ...], states: States) -> States:
    """A forward hook of a decoder layer: rank 0's hidden state and residual [1, D] on every tp rank.

    With more tokens than one the states stay as they are, a share a rank.
    """
    positions = arguments[0]
    if len(positions) != 1:
        return states
    gathered = tensor_model_parallel_all_gather(torch.cat(states), 0)
    return gathered[:1], gathered[1:2]


class OneTokenMistral(MistralLarge3ForCausalLM):
    """vLLM's text model, right at one token."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        for layer in self.model.layers:
            if getattr(layer, "use_sequence_parallel_moe", False):  # a stage's missing layers have none
                layer.register_forward_hook(whole)
