"""Are the answers right that programs written for other services get, sent as their guides send them?"""

import base64
import json
from collections.abc import Iterator
from datetime import date, timedelta
from io import BytesIO
from typing import Any

import anthropic
import httpx
import openai
import pytest
from PIL import Image, ImageDraw
from pydantic import BaseModel

from serve_app.local import LocalSystem

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

SUM = "What is 17 + 25?"
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city"],
    },
}
TIME = {
    "name": "get_time",
    "description": "Local time of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK_WEATHER = "What is the weather in Paris in celsius?"
IN_PARIS = {"city": "Paris", "unit": "celsius"}


@pytest.fixture(scope="module")
def model(client: openai.OpenAI) -> str:
    """The model's name as programs find it out."""
    return client.models.list().data[0].id


@pytest.fixture(scope="module")
def chat(client: openai.OpenAI) -> Any:
    """Chat completions of a client whose types do not know our fields."""
    return client.chat.completions


@pytest.fixture(scope="module")
def claude(system: LocalSystem) -> Iterator[anthropic.Anthropic]:
    """Anthropic's own client, told only the base URL."""
    with anthropic.Anthropic(base_url=system.file.url, api_key="unused", max_retries=0) as client:
        yield client


def picture() -> str:
    """A red circle as a data URL."""
    image = Image.new("RGB", (56, 56), (255, 255, 255))
    ImageDraw.Draw(image).ellipse((4, 4, 26, 26), fill=(220, 30, 30))
    file = BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


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


CHOICE = {"structured_outputs": {"choice": ["yes", "no"]}}
FORM = {
    "type": "json_schema",
    "name": "result",
    "schema": {
        "type": "object",
        "properties": {"result": {"enum": [7]}},
        "required": ["result"],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize("effort", ["none", "high"])
def test_grammars_hold(http: httpx.Client, model: str, effort: str) -> None:
    """A grammar holds for the answer, at high after the reasoning; the model alone would say 42."""
    asked = {"model": model, "temperature": 0}
    chat = {**asked, "messages": [{"role": "user", "content": SUM}], "reasoning_effort": effort, **CHOICE}
    message = http.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]
    assert message["content"] in ("yes", "no")
    assert bool(message["reasoning"]) == (effort == "high")
    response = {
        **asked,
        "input": SUM,
        "reasoning": {"effort": effort},
        "text": {"format": FORM},
        "max_output_tokens": 256,
    }
    *_, last = http.post("/v1/responses", json=response).json()["output"]
    assert json.loads(last["content"][0]["text"]) == {"result": 7}


def test_a_grammar_holds_for_a_raw_prompt(http: httpx.Client, model: str) -> None:
    """Completions have no reasoning to wait for."""
    asked = {"model": model, "prompt": "17 + 25 =", "temperature": 0, **CHOICE}
    assert http.post("/v1/completions", json=asked).json()["choices"][0]["text"] in ("yes", "no")


@pytest.mark.parametrize("effort", ["none", "high"])
def test_a_demanded_tool_is_called(chat: Any, model: str, effort: str) -> None:
    """`required` and a named function end in a call, where the model alone would answer."""
    tools = [{"type": "function", "function": tool} for tool in (WEATHER, TIME)]
    for choice in ("required", {"type": "function", "function": {"name": "get_time"}}):
        answer = chat.create(
            model=model,
            messages=[{"role": "user", "content": SUM}],
            tools=tools,
            tool_choice=choice,
            reasoning_effort=effort,
            temperature=0,
            max_tokens=400,
        )
        names = [call.function.name for call in answer.choices[0].message.tool_calls]
        assert names
        assert choice == "required" or set(names) == {"get_time"}
