"""Do pictures among results of tools reach Mistral's encoder, and does vLLM still not see to it itself?"""

import inspect
from typing import Any

import pytest
from mistral_common.exceptions import MistralCommonException
from PIL import Image

from deploy.pocket.families.canvas import data_url
from serve_app.engine import tool_pictures

PNG = data_url(Image.new("RGB", (28, 28), "red")).partition(",")[2]
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
CALLS = ("toolu_aaaaaaaa1", "toolu_aaaaaaaa2")


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Any:
    """VLLM's route with its function as it comes, put back afterwards."""
    from vllm.entrypoints.anthropic.serving import AnthropicServingMessages

    monkeypatch.setattr(
        AnthropicServingMessages,
        "_convert_message_content",
        inspect.unwrap(AnthropicServingMessages._convert_message_content),
    )
    return AnthropicServingMessages


def turns(serving: Any, *results: list[dict[str, Any]]) -> list[Any]:
    """The turns of a conversation in which two calls have these results."""
    from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest

    calls = [{"type": "tool_use", "id": call, "name": "shot", "input": {}} for call in CALLS]
    told = [
        {"type": "tool_result", "tool_use_id": call, "content": result}
        for call, result in zip(CALLS, results, strict=True)
    ]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": [*told, {"type": "text", "text": "What is in it?"}]},
    ]
    asked = {"model": "m", "max_tokens": 5, "messages": messages}
    request = serving.to_chat_completion_request(
        AnthropicMessagesRequest.model_validate(asked), merge_inline_system=True
    )
    found: list[Any] = request.messages
    for turn in found:
        for call in turn.get("tool_calls") or ():
            call["id"] = call["id"][-9:]
        if "tool_call_id" in turn:
            turn["tool_call_id"] = turn["tool_call_id"][-9:]
    return found


def test_as_shipped_a_picture_comes_between_results(serving: Any, tokenizer: Any) -> None:
    """The reason for the mend: the second result comes after a turn of the user."""
    with pytest.raises((ValueError, MistralCommonException), match="tool"):
        tokenizer.apply_chat_template(turns(serving, [PICTURE], [{"type": "text", "text": "done"}]))


def test_mended_results_come_first(serving: Any, tokenizer: Any) -> None:
    """In their order, and then what the user shows and says; that of a turn without results stays."""
    tool_pictures.install()
    tool_pictures.install()
    found = turns(serving, [PICTURE], [{"type": "text", "text": "done"}])
    assert [turn["role"] for turn in found] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert [turn["tool_call_id"] for turn in found[2:4]] == [call[-9:] for call in CALLS]
    assert found[4]["content"][0]["type"] == "image_url"
    assert tokenizer.apply_chat_template(found)
