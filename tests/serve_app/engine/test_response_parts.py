"""Do the parts of a response's input reach Mistral's encoder, and does vLLM still not see to it itself?"""

import inspect
from typing import Any

import pytest
from mistral_common.exceptions import MistralCommonException
from PIL import Image

from deploy.pocket.families.canvas import data_url
from serve_app.engine import response_parts

PNG = data_url(Image.new("RGB", (28, 28), "red"))
ASKED = {
    "role": "user",
    "content": [
        {"type": "input_text", "text": "What colour?"},
        {"type": "input_image", "image_url": PNG, "detail": "auto"},
    ],
}
HISTORY = [
    {"role": "user", "content": "Hello."},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello!"}]},
]


@pytest.fixture
def construct(monkeypatch: pytest.MonkeyPatch) -> Any:
    """VLLM's function as it comes, put back afterwards; call for the one in use."""
    from vllm.entrypoints.openai.responses import serving

    monkeypatch.setattr(serving, "construct_input_messages", inspect.unwrap(serving.construct_input_messages))
    return lambda: serving.construct_input_messages


def messages(construct: Any, turns: list[Any]) -> list[Any]:
    """The messages of an input that vLLM has validated."""
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

    request = ResponsesRequest.model_validate({"model": "m", "input": turns})
    found: list[Any] = construct()(request_instructions="Be brief.", request_input=request.input)
    return found


def test_as_shipped_the_parts_are_refused(construct: Any, tokenizer: Any) -> None:
    """The reason for the mend: mistral-common does not know them."""
    with pytest.raises((ValueError, MistralCommonException), match="input_text"):
        tokenizer.apply_chat_template(messages(construct, [ASKED]))


def test_mended_the_prompt_is_that_of_chat(construct: Any, tokenizer: Any) -> None:
    """Token for token what the same conversation gives in chat."""
    response_parts.install()
    response_parts.install()
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What colour?"},
                {"type": "image_url", "image_url": {"url": PNG}},
            ],
        },
    ]
    found = tokenizer.apply_chat_template(messages(construct, [*HISTORY, ASKED]))
    assert found == tokenizer.apply_chat_template(chat)


@pytest.mark.parametrize(
    ("item", "field", "wanted"),
    [
        (
            {
                "type": "message",
                "id": "m",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "one ", "annotations": []},
                    {"type": "refusal", "refusal": "two"},
                ],
            },
            "content",
            "one two",
        ),
        (
            {
                "role": "assistant",
                "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
            },
            "content",
            "ab",
        ),
        (
            {
                "type": "reasoning",
                "id": "r",
                "summary": [],
                "content": [
                    {"type": "reasoning_text", "text": "a"},
                    {"type": "reasoning_text", "text": "b"},
                ],
            },
            "reasoning",
            "ab",
        ),
    ],
    ids=["message", "message in short", "reasoning"],
)
def test_what_the_assistant_said_is_read_to_its_end(
    construct: Any, item: dict[str, Any], field: str, wanted: str
) -> None:
    """As shipped all but the first part is lost."""
    shipped = messages(construct, [HISTORY[0], item, ASKED])[2]
    assert shipped[field] != wanted
    response_parts.install()
    assert messages(construct, [HISTORY[0], item, ASKED])[2][field] == wanted


def test_a_refusal_alone_is_text(construct: Any) -> None:
    """As shipped it ends in an AttributeError."""
    response_parts.install()
    refused = {"type": "refusal", "refusal": "no"}
    item = {"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [refused]}
    assert messages(construct, [HISTORY[0], item, ASKED])[2]["content"] == "no"
