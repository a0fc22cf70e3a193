"""Do `params.json` and `tekken.json` say what the sizes are, in the terms of the format?"""

import base64
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from PIL import Image

from deploy.pocket.shape import END_OF_TEXT, IMAGE_TOKEN, Shape, draft_params, target_params, write_tekken
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape

SMALL = Shape(
    dim=32,
    n_layers=2,
    n_heads=2,
    vocab_size=80,
    num_control_tokens=40,
    q_lora_rank=24,
    kv_lora_rank=44,
    qk_nope_head_dim=12,
    qk_rope_head_dim=16,
    v_head_dim=20,
    num_experts=8,
    num_experts_per_tok=2,
    expert_hidden_dim=20,
    original_positions=16,
    max_positions=64,
    vision_dim=48,
    vision_hidden_dim=56,
    vision_layers=2,
    draft_hidden_dim=72,
)
"""For tests of arithmetic: sizes that could be mistaken differ, and a text of 17 tokens is a long one."""

TINY = replace(SMALL, vocab_size=4096, num_control_tokens=1000)
"""For tests of runs: small too, but with a vocabulary that encodes real data."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> MistralTokenizer:
    """What mistral-common makes of the file."""
    file = tmp_path_factory.mktemp("tekken") / "tekken.json"
    write_tekken(Shape(), file)
    return MistralTokenizer.from_file(str(file))


def request(content: object, **rest: object) -> ChatCompletionRequest[object]:
    """A request of one message."""
    return ChatCompletionRequest.from_openai([{"role": "user", "content": content}], **rest)


def test_small_where_the_full_model_is_large_and_the_same_elsewhere() -> None:
    """What decides on kernels and branches is Mistral Small 4's: latents, widths of heads, experts."""
    pocket = ModelShape.from_params(target_params(Shape()))
    same = ("kv_lora", "rope_dim", "nope_dim", "v_dim", "experts", "shared_experts", "dense_layers")
    assert {name: getattr(pocket, name) for name in same} == {
        name: getattr(MISTRAL_SMALL_4, name) for name in same
    }
    assert pocket.vision is not None
    assert target_params(Shape())["moe"]["num_experts_per_tok"] == 4


def test_every_size_is_said() -> None:
    """Both files of parameters say each size of an unusual shape as it is."""
    read = ModelShape.from_params(target_params(SMALL))
    assert (read.hidden, read.layers, read.heads, read.vocab) == (32, 2, 2, 80)
    assert (read.q_lora, read.kv_lora, read.nope_dim, read.rope_dim, read.v_dim) == (24, 44, 12, 16, 20)
    assert (read.experts, read.expert_width, read.positions) == (8, 20, 64)
    assert read.vision is not None
    assert (read.vision.hidden, read.vision.width, read.vision.layers) == (48, 56, 2)


def test_the_draft_is_dense_and_blind() -> None:
    """All layers of the head come before the first with experts, and it has no tower."""
    params = draft_params(SMALL)
    read = ModelShape.from_params(params, draft=True)
    assert read.layers == read.dense_layers == SMALL.draft_layers
    assert (read.dense_width, read.vision) == (72, None)
    assert params["moe"]["num_shared_experts"] >= 1  # or vLLM takes it for another architecture


@pytest.mark.parametrize("params", [target_params(SMALL), draft_params(SMALL)])
def test_lengths_and_scalings_agree(params: dict[str, Any]) -> None:
    """YaRN stretches the original length to the longest, and its magnitude stays out of attention."""
    assert params["yarn"]["original_max_position_embeddings"] * params["yarn"]["factor"] == 64
    assert params["llama_4_scaling"] == {"original_max_position_embeddings": 16, "beta": 0.1}
    assert params["yarn"]["apply_scale"] is False
    assert params["max_position_embeddings"] == params["max_seq_len"] == 64


def test_the_tokenizer_is_of_the_models_version(tokenizer: MistralTokenizer) -> None:
    """Control tokens have the ids of the real vocabulary, and any text comes back as it was."""
    tekken = tokenizer.instruct_tokenizer.tokenizer
    assert (tekken.version.value, tekken.n_words) == ("v15", Shape().vocab_size)
    names = {"</s>": END_OF_TEXT, "[IMG]": IMAGE_TOKEN, "<pad>": 11, "[ARGS]": 32, "[THINK]": 34}
    assert {name: tekken.get_special_token(name) for name in names} == names
    text = 'Naïve text, { "json": [1, 2] } and 漢字.'
    assert tekken.decode(tekken.encode(text, bos=False, eos=False)) == text


def test_effort_is_none_unless_it_is_high(tokenizer: MistralTokenizer) -> None:
    """A request that says nothing of effort is the one that says none; high is another."""
    plain, none, high = (
        tokenizer.encode_chat_completion(request("Hi.", **rest)).tokens
        for rest in ({}, {"reasoning_effort": "none"}, {"reasoning_effort": "high"})
    )
    assert plain == none != high


def test_images_have_the_sizes_of_the_tower(tokenizer: MistralTokenizer) -> None:
    """A large image shrinks to the tower's largest, and has a token for each four patches."""
    image = Image.fromarray(np.zeros((310, 500, 3), dtype=np.uint8))
    content = [{"type": "image_url", "image_url": {"url": image_url(image)}}]
    encoded = tokenizer.encode_chat_completion(request(content))
    _, height, width = encoded.images[0].shape
    assert (height, width) == (140, 224)
    assert encoded.tokens.count(IMAGE_TOKEN) == 5 * 8


def image_url(image: Image.Image) -> str:
    """An image as a client sends it."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
