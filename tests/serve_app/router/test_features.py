"""What the policy gets to know of a body."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config import PROJECT_ROOT
from serve_app.router.features import IMAGE_TOKENS, MAX_MARKS, MAX_TURNS, of_request
from serve_app.types import Effort, RequestFeatures, Shape

SYSTEM = {"role": "system", "content": "You are terse."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
URL = "data:image/png;base64," + "A" * 4000


def user(text: str) -> dict[str, Any]:
    """Return a turn of the user."""
    return {"role": "user", "content": text}


def chat(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a body of the chat dialect."""
    return {"messages": list(turns), **fields}


def common_tokens(first: RequestFeatures, second: RequestFeatures) -> int:
    """Return how long a beginning two requests are known to share, in tokens."""
    keys = {block.key for block in first.blocks}
    return max((block.num_tokens for block in second.blocks if block.key in keys), default=0)


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"temperature": 0.7, "top_p": 0.9}, ()),
        ({"min_p": 0.1}, ("min_p",)),
        ({"logit_bias": {"5": 1}, "allowed_token_ids": [5]}, ("allowed_token_ids", "logit_bias")),
        ({"min_p": 0, "logit_bias": {}, "allowed_token_ids": None}, ()),
    ],
)
def test_plain_decoding(body: dict[str, Any], fields: tuple[str, ...], effort: Effort) -> None:
    """What a draft head cannot honour is noted by name; values that change nothing are not."""
    features = of_request(body, effort, "search", 3)
    assert features.plain_decoding == fields
    assert (features.effort, features.tenant, features.priority) == (effort, "search", 3)


@pytest.mark.parametrize(
    ("body", "shapes"),
    [
        ({}, set()),
        ({"tools": []}, set()),
        ({"tools": [TOOL]}, {Shape.TOOLS}),
        ({"response_format": {"type": "text"}}, set()),
        ({"response_format": {"type": "json_object"}}, {Shape.SCHEMA}),
        ({"text": {"format": {"type": "json_schema"}}}, {Shape.SCHEMA}),
        ({"text": {"format": {"type": "text"}}}, set()),
        ({"output_config": {"format": {"type": "json_schema"}}}, {Shape.SCHEMA}),
        ({"structured_outputs": {"regex": "a"}}, {Shape.SCHEMA}),
        ({"text": "format", "response_format": 1}, set()),
    ],
)
def test_shapes(body: dict[str, Any], shapes: set[Shape]) -> None:
    """Tools and every dialect's way to ask for a form; images are counted by the ingress."""
    assert of_request(body, Effort.NONE).shapes == shapes
    assert of_request(body, Effort.NONE, num_images=1).shapes == shapes | {Shape.IMAGES}


@pytest.mark.parametrize(
    ("body", "max_tokens"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8, "max_tokens": 7}, 8),
        ({"max_output_tokens": 9}, 9),
        ({"max_tokens": "7"}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": -(10**400)}, None),
    ],
)
def test_max_tokens(body: dict[str, Any], max_tokens: int | None) -> None:
    """In each dialect's word; what is no whole number says nothing."""
    assert of_request(body, Effort.NONE).max_tokens == max_tokens


def test_stream() -> None:
    """Only true is true."""
    assert of_request({"stream": True}, Effort.NONE).stream
    assert not of_request({"stream": "yes"}, Effort.NONE).stream


@pytest.mark.parametrize(
    ("body", "same_as"),
    [
        ({"user": "u"}, {"user": "u", "prompt_cache_key": ""}),
        ({"metadata": {"session_id": "s"}, "user": "u"}, {"metadata": {"session_id": "s"}}),
        ({"metadata": {"user_id": "s"}}, {"prompt_cache_key": "s"}),
        ({"prompt_cache_key": "s", "metadata": {"session_id": "t"}}, {"prompt_cache_key": "s"}),
    ],
)
def test_session(body: dict[str, Any], same_as: dict[str, Any]) -> None:
    """Wherever the client names it; the most telling name counts, and each tenant has its own."""
    session = of_request(body, Effort.NONE).session
    assert session == of_request(same_as, Effort.HIGH).session
    assert session is not None
    assert session != of_request(body, Effort.NONE, "search").session


@pytest.mark.parametrize("body", [{}, {"user": ""}, {"user": 7}, {"metadata": "s"}])
def test_no_session(body: dict[str, Any]) -> None:
    """Without a name there is none."""
    assert of_request(body, Effort.NONE).session is None


@pytest.mark.parametrize(
    "body",
    [
        chat(user("x" * 8000)),
        {"input": "x" * 8000},
        {"prompt": "x" * 8000},
        {"system": "x" * 4000, "messages": [user("x" * 4000)]},
        {"instructions": "x" * 4000, "input": [user("x" * 4000)]},
    ],
)
def test_prompt_tokens(body: dict[str, Any]) -> None:
    """A token for four bytes of text, in every dialect, give or take what stands around it."""
    assert of_request(body, Effort.NONE).prompt_tokens == pytest.approx(2000, abs=20)


def test_images_count_as_images() -> None:
    """An image is so many tokens, however many bytes it has."""
    body = chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]})
    features = of_request(body, Effort.NONE, num_images=1)
    assert features.prompt_tokens == pytest.approx(IMAGE_TOKENS, abs=60)


def test_the_next_turn_shares_all_turns_before() -> None:
    """What a conversation has so far is a beginning of its next request, to the last byte."""
    turns = [SYSTEM, *(user(f"question {i} " + "x" * 3000) for i in range(20))]
    first = of_request(chat(*turns, tools=[TOOL]), Effort.NONE)
    second = of_request(chat(*turns, user("one more"), tools=[TOOL]), Effort.NONE)
    assert common_tokens(first, second) == first.blocks[-1].num_tokens == first.prompt_tokens


def test_another_effort_shares_the_head_only() -> None:
    """The effort stands behind system prompt and tools: these stay cached, the turns do not."""
    body = chat({**SYSTEM, "content": "s" * 4000}, user("x" * 4000), tools=[TOOL])
    none, high = (of_request(body, effort) for effort in Effort)
    assert common_tokens(none, high) == pytest.approx(1000, abs=60)


@pytest.mark.parametrize(
    "other",
    [
        chat(SYSTEM, user("x" * 9000 + "?")),
        chat({**SYSTEM, "content": "You are verbose."}, user("x" * 9000)),
        chat(SYSTEM, user("x" * 9000), tools=[TOOL]),
    ],
)
def test_what_is_shared_ends_where_texts_differ(other: dict[str, Any]) -> None:
    """Another end, another system prompt, another tool: nothing from there on is shared."""
    first, second = (of_request(body, Effort.NONE) for body in (chat(SYSTEM, user("x" * 9000)), other))
    assert common_tokens(first, second) < first.prompt_tokens
    assert (common_tokens(first, second) > 1000) == (other["messages"][0] == SYSTEM and "tools" not in other)


def test_one_image_is_not_another() -> None:
    """Prompts that differ in an image alone differ."""
    parts = [{"type": "image_url", "image_url": {"url": URL + end}} for end in ("B", "C")]
    first, second = (of_request(chat({"role": "user", "content": [p]}), Effort.NONE) for p in parts)
    assert common_tokens(first, second) < 10


def test_blocks_are_bounded() -> None:
    """However long a prompt and however many its turns."""
    body = chat(*(user("x" * 40_000) for _ in range(400)))
    blocks = of_request(body, Effort.NONE).blocks
    assert MAX_MARKS < len(blocks) <= MAX_MARKS + MAX_TURNS + 1
    assert list(blocks) == sorted(blocks, key=lambda block: block.num_tokens)


def test_keys_do_not_depend_on_the_process() -> None:
    """Ingress replicas, and runs of the simulator, agree on keys."""
    assert of_request(chat(user("hi")), Effort.NONE).blocks[-1].key == LAST_KEY


WORDS = (
    "messages input prompt system instructions tools metadata user response_format text output_config "
    "max_tokens stream structured_outputs min_p image_url source role url"
)
KEYS = st.sampled_from(WORDS.split())
LAST_KEY = 10_811_863_293_315_244_311


words = st.text("ab \u00e9\ud800", max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | KEYS, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, json_values, max_size=6))
def test_any_body(body: dict[str, Any]) -> None:
    """Whatever a client sends, reading it raises nothing and says the same twice."""
    assert of_request(body, Effort.NONE) == of_request(json.loads(json.dumps(body)), Effort.NONE)
    assert of_request(body, Effort.NONE).prompt_tokens >= 0


def test_the_tokenizer_has_that_order() -> None:
    """At two efforts, system prompt and tools are the same tokens; the turns come after the difference."""
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.base import SpecialTokenPolicy
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    tokenizer = MistralTokenizer.from_file(str(PROJECT_ROOT / "deploy/pocket/target/tekken.json"))
    turns = [SYSTEM, user("first"), {"role": "assistant", "content": "answer"}, user("second")]
    none, high = (
        tokenizer.encode_chat_completion(
            ChatCompletionRequest.model_validate(chat(*turns, tools=[TOOL], reasoning_effort=effort.value))
        ).tokens
        for effort in Effort
    )
    num_shared = next(i for i, (one, other) in enumerate(zip(none, high, strict=False)) if one != other)
    shared = tokenizer.decode(none[:num_shared], special_token_policy=SpecialTokenPolicy.KEEP)
    assert "You are terse." in shared
    assert '"name": "f"' in shared
    assert "first" not in shared
