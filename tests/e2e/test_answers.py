"""Are the answers of chat right that programs get which send what guides tell them to?"""

import json
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from tests.e2e.asked import ASK_WEATHER, IN_PARIS, SUM, TIME, WEATHER, picture

pytestmark = [pytest.mark.engine, pytest.mark.e2e]


@pytest.mark.parametrize("how", [{"reasoning_effort": "high"}, {"extra_body": {"reasoning_effort": "high"}}])
def test_high_reasons_and_then_answers(chat: Any, model: str, how: dict[str, Any]) -> None:
    """The step is in the reasoning under both of its names, and the answer is the result alone."""
    answer = chat.create(
        model=model, messages=[{"role": "user", "content": SUM}], temperature=0.7, seed=1, **how
    )
    message = answer.choices[0].message
    assert message.content == "42"
    assert message.reasoning == message.reasoning_content == "17 + 25 = 42"


def test_none_answers_at_once(chat: Any, model: str) -> None:
    """No effort is effort none: the answer is there without reasoning."""
    answer = chat.create(model=model, messages=[{"role": "user", "content": SUM}], temperature=0)
    assert answer.choices[0].message.content == "42"
    assert answer.choices[0].message.reasoning_content is None
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_reasoning_streams_before_content(chat: Any, model: str) -> None:
    """A loop that asks `hasattr(delta, "reasoning_content")` first prints the reasoning, then the answer."""
    stream = chat.create(
        model=model,
        messages=[{"role": "user", "content": SUM}],
        reasoning_effort="high",
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    said: list[tuple[str, str]] = []
    usage = None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            if hasattr(choice.delta, "reasoning_content") and choice.delta.reasoning_content:
                said.append(("reasoning", choice.delta.reasoning_content))
            elif choice.delta.content:
                said.append(("content", choice.delta.content))
    kinds = [kind for kind, _ in said]
    assert kinds == sorted(kinds, reverse=True), "reasoning comes first"
    assert "".join(text for kind, text in said if kind == "reasoning") == "17 + 25 = 42"
    assert "".join(text for kind, text in said if kind == "content") == "42"
    assert usage is not None
    assert usage.completion_tokens > 0


def test_a_system_prompt_with_dates(chat: Any, http: httpx.Client, model: str) -> None:
    """A system prompt filled from a template, and content as a list of parts: the engine reads both."""
    today = date.today()
    body = {
        "model": model,
        "messages": [
            {"role": "system", "content": f"Today is {today}, yesterday was {today - timedelta(days=1)}."},
            {"role": "user", "content": [{"type": "text", "text": SUM}]},
        ],
    }
    tokens = http.post("/v1/chat/completions/render", json=body).json()["token_ids"]
    prompt = http.post("/detokenize", json={"tokens": tokens}).json()["prompt"]
    assert f"[SYSTEM_PROMPT]Today is {today}" in prompt
    assert f"[INST]{SUM}[/INST]" in prompt
    answer = chat.create(**body)
    assert answer.usage.prompt_tokens == len(tokens)
    assert answer.choices[0].message.content


@pytest.mark.parametrize("effort", ["none", "high"])
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_a_picture(chat: Any, model: str, effort: str, temperature: float) -> None:
    """Text and a picture in one message."""
    content = [
        {"type": "text", "text": "What colour is the circle?"},
        {"type": "image_url", "image_url": {"url": picture()}},
    ]
    answer = chat.create(
        model=model,
        messages=[{"role": "user", "content": content}],
        reasoning_effort=effort,
        temperature=temperature,
        seed=1,
    )
    assert answer.choices[0].message.content == "red"


@pytest.mark.parametrize("effort", ["none", "high"])
def test_a_tool_round_trip(chat: Any, model: str, effort: str) -> None:
    """The SDK's own message goes back with its calls, and results with an id and a name."""
    tools = [{"type": "function", "function": tool} for tool in (WEATHER, TIME)]
    common = {
        "model": model,
        "tools": tools,
        "tool_choice": "auto",
        "temperature": 0,
        "reasoning_effort": effort,
    }
    messages: list[Any] = [
        {"role": "user", "content": f"{ASK_WEATHER} Also: What time is it in Oslo?"},
    ]
    asked = chat.create(messages=messages, **common).choices[0]
    assert asked.finish_reason == "tool_calls"
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in asked.message.tool_calls]
    assert calls == [("get_weather", IN_PARIS), ("get_time", {"city": "Oslo"})]
    messages.append({"role": "assistant", "tool_calls": asked.message.tool_calls})
    for call, result in zip(asked.message.tool_calls, ({"temperature": 21}, {"hour": 9}), strict=True):
        messages.append(
            {
                "role": "tool",
                "tool_call_id": call.id,
                "name": call.function.name,
                "content": json.dumps(result),
            }
        )
    answer = chat.create(messages=messages, **common).choices[0]
    assert answer.finish_reason == "stop"
    assert "temperature is 21" in answer.message.content
    assert "hour is 9" in answer.message.content


@pytest.mark.parametrize("effort", ["none", "high"])
def test_streamed_calls_are_the_whole_ones(chat: Any, model: str, effort: str) -> None:
    """Arguments come in parts that make JSON."""
    stream = chat.create(
        model=model,
        messages=[{"role": "user", "content": ASK_WEATHER}],
        tools=[{"type": "function", "function": WEATHER}],
        temperature=0,
        reasoning_effort=effort,
        stream=True,
    )
    names, arguments = "", ""
    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            names += call.function.name or ""
            arguments += call.function.arguments or ""
    assert (names, json.loads(arguments)) == ("get_weather", IN_PARIS)


class Person(BaseModel):
    """What is asked for as JSON."""

    name: str
    age: int


@pytest.mark.parametrize("effort", ["none", "high"])
def test_an_answer_parsed_by_a_class(chat: Any, model: str, effort: str) -> None:
    """The SDK sends the class as a JSON schema, and gives an object of it."""
    schema = json.dumps(
        {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    )
    answer = chat.parse(
        model=model,
        messages=[
            {
                "role": "user",
                "content": f"The name is Frank. The age is 34. Answer in JSON with this schema: {schema}",
            }
        ],
        response_format=Person,
        reasoning_effort=effort,
        temperature=0,
    )
    assert answer.choices[0].message.parsed == Person(name="Frank", age=34)
