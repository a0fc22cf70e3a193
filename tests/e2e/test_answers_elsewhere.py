"""Are the answers right in the dialects of responses and messages?"""

import json
from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.asked import ASK_WEATHER, IN_PARIS, SUM, WEATHER, picture

pytestmark = [pytest.mark.engine, pytest.mark.e2e]


def test_a_response_with_reasoning(client: openai.OpenAI, model: str) -> None:
    """OpenAI's responses: the reasoning is an item of its own before the message."""
    responses: Any = client.responses
    answer = responses.create(model=model, input=SUM, reasoning={"effort": "high"}, temperature=0)
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == "17 + 25 = 42"
    assert answer.output_text == "42"


def test_a_response_to_parts(client: openai.OpenAI, model: str) -> None:
    """OpenAI's responses: text and a picture as parts, after a turn of the assistant as parts."""
    responses: Any = client.responses
    turns = [
        {"role": "user", "content": [{"type": "input_text", "text": SUM}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "42"}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What colour is the circle?"},
                {"type": "input_image", "image_url": picture(), "detail": "auto"},
            ],
        },
    ]
    assert "red" in responses.create(model=model, input=turns, temperature=0).output_text


def test_a_response_that_calls(client: openai.OpenAI, model: str) -> None:
    """OpenAI's responses: a call, and its result in the next request."""
    responses: Any = client.responses
    tools = [{"type": "function", **WEATHER}]
    first = responses.create(model=model, input=ASK_WEATHER, tools=tools, temperature=0)
    call = next(item for item in first.output if item.type == "function_call")
    assert (call.name, json.loads(call.arguments)) == ("get_weather", IN_PARIS)
    turns = [
        {"role": "user", "content": ASK_WEATHER},
        call,
        {"type": "function_call_output", "call_id": call.call_id, "output": '{"temperature": 21}'},
    ]
    assert "21" in responses.create(model=model, input=turns, tools=tools, temperature=0).output_text


def test_a_message_that_thinks(claude: anthropic.Anthropic, model: str) -> None:
    """Anthropic's messages: a thinking block, and then the text."""
    messages: Any = claude.messages
    answer = messages.create(
        model=model,
        messages=[{"role": "user", "content": SUM}],
        max_tokens=2048,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking == "17 + 25 = 42"
    assert answer.content[1].text == "42"
    assert answer.stop_reason == "end_turn"


def test_a_message_that_calls(claude: anthropic.Anthropic, model: str) -> None:
    """Anthropic's messages: tool use, and its result in the next request."""
    create: Any = claude.messages.create
    tool = {**WEATHER, "input_schema": WEATHER["parameters"]}
    del tool["parameters"]
    common = {"model": model, "max_tokens": 256, "tools": [tool]}
    turns: list[Any] = [{"role": "user", "content": ASK_WEATHER}]
    first = create(messages=turns, **common)
    assert first.stop_reason == "tool_use"
    use = next(block for block in first.content if block.type == "tool_use")
    assert (use.name, use.input) == ("get_weather", IN_PARIS)
    turns += [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": use.id, "content": '{"temperature": 21}'}],
        },
    ]
    answer = create(messages=turns, **common)
    assert "temperature is 21" in answer.content[0].text
