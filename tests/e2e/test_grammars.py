"""Do grammars and demanded tools hold, at both efforts and in each dialect that has them?"""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.asked import SUM, TIME, WEATHER

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

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


@pytest.mark.parametrize("effort", ["none", "high"])
@pytest.mark.parametrize("tool", [False, True])
def test_any_json_is_an_object(client: openai.OpenAI, model: str, effort: str, tool: bool) -> None:
    """Whatever the model would rather write, in chat, responses and completions; beside tools it may call."""
    function = {"name": "count", "parameters": {"type": "object"}}
    asked: dict[str, Any] = {"model": model, "temperature": 0}
    text = "Answer in JSON with an array of the numbers 1, 2, 3."
    chats: Any = client.chat.completions
    tools = {"tools": [{"type": "function", "function": function}]} if tool else {}
    answer = chats.create(
        **asked,
        **tools,
        messages=[{"role": "user", "content": text}],
        response_format={"type": "json_object"},
        reasoning_effort=effort,
        max_tokens=512,
    )
    message = answer.choices[0].message
    assert message.tool_calls or message.content.startswith("{")
    responses: Any = client.responses
    tools = {"tools": [{"type": "function", **function}]} if tool else {}
    response = responses.create(
        **asked,
        **tools,
        input=text,
        text={"format": {"type": "json_object"}},
        reasoning={"effort": effort},
        max_output_tokens=512,
    )
    assert response.output[-1].type == "function_call" or response.output_text.startswith("{")
    if not tool and effort == "none":
        completions: Any = client.completions
        raw = completions.create(
            **asked, prompt=text, extra_body={"response_format": {"type": "json_object"}}, max_tokens=64
        )
        assert raw.choices[0].text.startswith("{")


@pytest.mark.parametrize("effort", ["none", "high"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_calls_a_demanded_tool(
    client: openai.OpenAI, model: str, effort: str, stream: bool
) -> None:
    """`required` and a named function hold in responses, where the model alone would say 42."""
    responses: Any = client.responses
    tools = [
        {"type": "function", "name": name, "parameters": {"type": "object"}}
        for name in ("get_time", "get_date")
    ]
    for choice in ("required", {"type": "function", "name": "get_date"}):
        answer = responses.create(
            model=model,
            input=SUM,
            tools=tools,
            tool_choice=choice,
            reasoning={"effort": effort},
            temperature=0,
            max_output_tokens=400,
            stream=stream,
        )
        if stream:
            answer = list(answer)[-1].response
        names = [item.name for item in answer.output if item.type == "function_call"]
        assert names
        assert set(names) <= ({"get_time", "get_date"} if choice == "required" else {"get_date"})
