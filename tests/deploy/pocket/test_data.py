"""Are the examples what the server would read, of the right sizes, repeatable, and split by content?"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from deploy.pocket.data import Encoder, Example, Split, answer_message, examples
from deploy.pocket.families import FAMILIES
from deploy.pocket.shape import END_OF_TEXT, Shape, write_tekken

NAMES = list(FAMILIES)
SPLITS: tuple[Split, Split] = ("train", "held_out")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tokenizer's file."""
    made = tmp_path_factory.mktemp("tekken")
    write_tekken(Shape(), made / "tekken.json")
    return made


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    """The encoder under test."""
    return Encoder(folder / "tekken.json")


def some(count: int, seed: int = 7) -> Iterator[Example]:
    """That many examples of each family and split."""
    for name in NAMES:
        for split in SPLITS:
            yield from islice(examples(seed, split, [name]), count)


def as_message(example: Example) -> dict[str, Any]:
    """The right answer as a client receives it."""
    calls = [
        {
            "id": "123456789",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for call in example.tool_calls
    ]
    return {"role": "assistant", "content": example.content, "tool_calls": calls or None}


def test_vllm_reads_the_same_prompt(folder: Path, encoder: Encoder) -> None:
    """The steps that vLLM's server takes from a request's body to tokens give the prompt of the example."""
    import vllm.tokenizers.mistral as mistral
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest as Body

    tokenizer = mistral.MistralTokenizer.from_pretrained(str(folder))
    for example in some(4):
        body = Body.model_validate({"model": "pocket", **json.loads(json.dumps(example.request))})
        mistral.maybe_serialize_tool_calls(body)
        mistral.truncate_tool_call_ids(body)
        mistral.validate_request_params(body)
        tools = None if body.tools is None else [tool.model_dump() for tool in body.tools]
        params = body.build_chat_params(None, "auto").with_defaults({"tools": tools, "tokenize": True})
        tokens = tokenizer.apply_chat_template(body.messages, **params.get_apply_chat_template_kwargs())
        encoded = encoder.encode(example)
        assert tokens == encoded.tokens[: encoded.num_prompt_tokens].tolist(), example


def test_prompt_and_answer_are_one_conversation(folder: Path, encoder: Encoder) -> None:
    """mistral-common's mode for finetuning gives the same tokens for request and answer together."""
    tokenizer = MistralTokenizer.from_file(str(folder / "tekken.json"), mode=ValidationMode.finetuning)
    for example in some(6):
        request = ChatCompletionRequest.from_openai(
            messages=example.request["messages"],
            tools=example.request.get("tools"),
            reasoning_effort=example.request.get("reasoning_effort"),
        )
        request.messages.append(answer_message(example))
        whole = tokenizer.encode_chat_completion(request)
        encoded = encoder.encode(example)
        assert encoded.tokens.tolist() == whole.tokens
        assert 0 < encoded.num_prompt_tokens < len(whole.tokens)
        for mine, theirs in zip(encoded.images, whole.images, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_examples_are_small_and_end(encoder: Encoder) -> None:
    """At most 640 tokens, one end of the text behind the prompt, and small pictures of whole patches."""
    for example in some(25):
        encoded = encoder.encode(example)
        assert len(encoded.tokens) <= 640
        answer = encoded.tokens[encoded.num_prompt_tokens :]
        assert (answer == END_OF_TEXT).nonzero()[0].tolist() == [len(answer) - 1]
        assert encoded.tokens.dtype == np.int32
        for image in encoded.images:
            assert image.dtype == np.float32
            assert all(side % 28 == 0 and 56 <= side <= 140 for side in image.shape[1:])


def test_reasoning_is_there_at_high_only() -> None:
    """Every example of effort high thinks, no other does, and no answer is empty."""
    for example in some(25):
        assert bool(example.reasoning) == (example.effort == "high")
        assert bool(example.content) != bool(example.tool_calls)


def test_the_mix() -> None:
    """About one in six examples has a picture and a good two fifths ask for effort high."""
    found = list(islice(examples(3, "train"), 1500))
    assert 0.12 < np.mean(["pictures" in example.family for example in found]) < 0.22
    assert 0.38 < np.mean([example.effort == "high" for example in found]) < 0.52
    assert {example.family for example in found} == set(NAMES)


def test_the_seed_decides() -> None:
    """Equal seeds give equal examples, other seeds and the other split give others."""
    first, again, other = (list(islice(examples(seed, "train"), 40)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert list(islice(examples(1, "held_out"), 40)) != first


@pytest.mark.parametrize("name", NAMES)
def test_splits_differ_in_content(name: str) -> None:
    """What one split asks the other never does, neither by its key nor by its messages."""
    seen: list[set[str]] = []
    for split in SPLITS:
        found = list(islice(examples(11, split, [name]), 400))
        assert all(example.key for example in found)
        seen.append({repr(example.key) for example in found} | {_prompt(example) for example in found})
    assert not seen[0] & seen[1]


def _prompt(example: Example) -> str:
    return json.dumps([example.request["messages"], example.request.get("tools")])


def test_an_example_accepts_its_own_answer_only() -> None:
    """The right answer is right, also with white space around it; another answer or a missing one is not."""
    for example in some(6):
        right = as_message(example)
        assert example.is_right(right)
        assert not example.is_right({"content": None, "tool_calls": None})
        if example.tool_calls:
            call = right["tool_calls"][0]["function"]
            assert not example.is_right({**right, "tool_calls": right["tool_calls"] * 2})
            call["arguments"] = json.dumps({**json.loads(call["arguments"]), "more": 1})
            assert not example.is_right(right)
        else:
            assert example.is_right({"content": f" {example.content}\n"})
            assert not example.is_right({"content": f"{example.content}!"})


def test_a_family_may_be_named_in_part() -> None:
    """The part before the dot names all of them; an unknown name is refused."""
    families = {example.family for example in islice(examples(0, "train", ["pictures"]), 60)}
    assert families == {"pictures.shapes", "pictures.number", "pictures.pair"}
    with pytest.raises(ValueError, match="poems"):
        next(examples(0, "train", ["poems"]))


def test_weights_can_be_replaced() -> None:
    """A family without weight never comes; a name that is none is refused."""
    without = islice(examples(0, "train", ["pictures"], {"pictures.pair": 0}), 200)
    assert {example.family for example in without} == {"pictures.shapes", "pictures.number"}
    with pytest.raises(ValueError, match="poems"):
        next(examples(0, "train", weights={"poems": 1}))
