"""Does the draft head load, draft for a target with a vision tower, and leave the answers as they were?"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.model_executor.models import mistral_large_3_eagle as upstream

from parallel.vllm_plugin.eagle import CompleteEagle


class Embedding(torch.nn.Module):
    """A language model of which only the embeddings matter: token t -> [t, t]."""

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[T] -> [T, 2]."""
        return input_ids[:, None].expand(-1, 2).float()


def bare(kind: type[Any]) -> Any:
    """A draft head of the given class without what its constructor would build."""
    head = object.__new__(kind)
    torch.nn.Module.__init__(head)
    head.model = Embedding()
    return head


def construct(head: Any, **kwargs: Any) -> None:
    """In place of a constructor: a head whose model has no layers."""
    torch.nn.Module.__init__(head)
    head.model = torch.nn.Module()
    head.model.layers = torch.nn.ModuleList()


def embed(head: Any) -> torch.Tensor:
    """The embeddings [3, 2] of two tokens with an image's embedding between them."""
    result: torch.Tensor = head.embed_input_ids(
        torch.tensor([7, 10, 8]),
        multimodal_embeddings=[torch.tensor([[0.5, 0.25]])],
        is_multimodal=torch.tensor([False, True, False]),
    )
    return result


def test_upstream_cannot_load_weights() -> None:
    """Loading reads a flag that upstream's draft model never sets."""
    model = object.__new__(upstream.EagleMistralLarge3Model)
    torch.nn.Module.__init__(model)
    model.use_mha = False
    model.num_redundant_experts = 0
    model.config = SimpleNamespace(n_routed_experts=8, n_shared_experts=1)
    with pytest.raises(AttributeError, match="no attribute 'is_fused_shared_expert_enabled'"):
        model.load_weights([])


def test_the_flag_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """After construction the draft model has the flag, off: its shared expert is a layer of its own."""
    monkeypatch.setattr(upstream.EagleMistralLarge3ForCausalLM, "__init__", construct)
    config = SimpleNamespace(additional_config={})
    assert CompleteEagle(vllm_config=config).model.is_fused_shared_expert_enabled is False


@pytest.mark.parametrize(
    ("kind", "stays"), [(upstream.EagleMistralLarge3ForCausalLM, False), (CompleteEagle, True)]
)
def test_the_engine_configuration_stays_the_targets(
    kind: type[Any], stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstream puts the head's in its place, and the engine then looks there for a vision tower."""
    monkeypatch.setattr(upstream.MistralLarge3ForCausalLM, "__init__", construct)
    monkeypatch.setattr(upstream.VllmConfig, "get_quantization_config", lambda *given: "the head's")
    target = SimpleNamespace(get_num_layers=lambda parallel: 6)
    config = SimpleNamespace(
        model_config=target,
        quant_config="the target's",
        parallel_config=None,
        load_config=None,
        additional_config={},
        speculative_config=SimpleNamespace(draft_model_config="the head's"),
    )
    kind(vllm_config=config)
    assert ((config.model_config, config.quant_config) == (target, "the target's")) is stays


def test_upstream_cannot_embed_for_a_target_with_a_vision_tower() -> None:
    """The method it copied calls one it did not copy."""
    with pytest.raises(AttributeError, match="no attribute '_embed_text_input_ids'"):
        embed(bare(upstream.EagleMistralLarge3ForCausalLM))


def test_images_are_embedded_where_they_stand() -> None:
    """Tokens get their own embeddings, the placeholder the image's."""
    assert embed(bare(CompleteEagle)).tolist() == [[7.0, 7.0], [0.5, 0.25], [8.0, 8.0]]
