"""Are turns that the model does not know refused in words, where vLLM stumbles?"""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.engine import turns

SHELL = {"type": "local_shell_call_output", "id": "1", "output": "x"}
SEARCH = {"type": "file_search_call", "id": "1", "queries": ["a"], "status": "completed"}
EMPTY = {"type": "message", "role": "assistant", "id": "1", "status": "completed", "content": []}
USER = {"role": "user", "content": "Hello."}
HARMONY = {"author": {"role": "user"}, "content": [{"type": "text", "text": "Hello."}]}


@pytest.fixture
def construct() -> Any:
    """VLLM's function as it comes."""
    from vllm.entrypoints.openai.responses import serving

    return inspect.unwrap(serving.construct_input_messages)


@pytest.fixture
def look() -> Any:
    """VLLM's first look at a chat, as it comes."""
    from vllm.renderers import online_renderer

    return inspect.unwrap(online_renderer._mt.maybe_serialize_tool_calls)


def items(*given: dict[str, Any]) -> Any:
    """The input of a response as vLLM has validated it."""
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

    return ResponsesRequest.model_validate({"model": "m", "input": list(given)}).input


def chat(*messages: dict[str, Any]) -> Any:
    """A chat as vLLM has validated it."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    return ChatCompletionRequest.model_validate({"model": "m", "messages": list(messages)})


def test_as_shipped_vllm_stumbles(construct: Any, look: Any) -> None:
    """The reason for the mend."""
    with pytest.raises(IndexError):
        construct(request_input=items(EMPTY))
    with pytest.raises(AttributeError):
        look(chat(HARMONY))
    assert "role" not in construct(request_input=items(SHELL, USER))[0]


@pytest.mark.parametrize(
    ("item", "word"),
    [(SHELL, "'local_shell_call_output'"), (SEARCH, "'file_search_call'"), (EMPTY, "empty or not complete")],
)
def test_items_of_a_response(construct: Any, item: dict[str, Any], word: str) -> None:
    """The kind is named, also where messages surround it."""
    from vllm.exceptions import VLLMValidationError

    for given in ([item], [USER, item, USER]):
        with pytest.raises(VLLMValidationError, match=word) as refused:
            turns.of_responses(construct)(request_input=items(*given))
        assert refused.value.parameter == "input"


def test_messages_of_a_chat(look: Any) -> None:
    """Harmony's are refused."""
    from vllm.exceptions import VLLMValidationError

    with pytest.raises(VLLMValidationError, match="without a role") as refused:
        turns.of_chat(look)(chat(USER, HARMONY))
    assert refused.value.parameter == "messages"


def test_known_turns_pass(construct: Any, look: Any) -> None:
    """They are as vLLM makes them."""
    given = {"request_instructions": "Be brief.", "request_input": items(USER)}
    assert turns.of_responses(construct)(**given) == construct(**given)
    turns.of_chat(look)(chat(USER, {"role": "assistant", "content": "Hello!"}))


def test_turns_without_messages_are_left_to_vllm() -> None:
    """An empty chat is none of this file's business."""
    turns.of_chat(lambda _: None)(SimpleNamespace(messages=[]))


def test_installed_where_the_routes_look(monkeypatch: pytest.MonkeyPatch, construct: Any, look: Any) -> None:
    """The names by which vLLM's routes call them are the mended ones, however often it is asked for."""
    from vllm.entrypoints.openai.responses import serving
    from vllm.exceptions import VLLMValidationError
    from vllm.renderers import online_renderer

    monkeypatch.setattr(serving, "construct_input_messages", construct)
    monkeypatch.setattr(online_renderer._mt, "maybe_serialize_tool_calls", look)
    for _ in range(2):
        turns.install()
        assert serving.construct_input_messages.__wrapped__ is construct
        with pytest.raises(VLLMValidationError, match="without a role"):
            online_renderer._mt.maybe_serialize_tool_calls(chat(HARMONY))
