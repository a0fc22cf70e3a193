"""Does Mistral's own client get its answers, told only the base URL?"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mistralai.client import Mistral

from serve_app.local import LocalSystem
from tests.e2e.asked import ASK_WEATHER, IN_PARIS, SUM, WEATHER, picture

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

MODEL = "mistral-small-4"


@pytest.fixture(scope="module")
def chat(system: LocalSystem) -> Iterator[Any]:
    """The chat of a client whose types do not know our fields."""
    with Mistral(api_key="unused", server_url=system.file.url) as client:
        yield client.chat


def test_models(system: LocalSystem) -> None:
    """The list has the one model."""
    with Mistral(api_key="unused", server_url=system.file.url) as client:
        models: Any = client.models.list()
        assert [model.id for model in models.data] == [MODEL]


@pytest.mark.parametrize("said", [{"prompt_mode": "reasoning"}, {"reasoning_effort": "high"}])
def test_reasoning(chat: Any, said: dict[str, str]) -> None:
    """Both of its ways to ask for reasoning."""
    answer = chat.complete(
        model=MODEL, messages=[{"role": "user", "content": SUM}], random_seed=1, safe_prompt=False, **said
    )
    assert answer.choices[0].message.content == "42"


def test_a_stream(chat: Any) -> None:
    """Deltas make the answer."""
    stream = chat.stream(model=MODEL, messages=[{"role": "user", "content": SUM}], temperature=0)
    said = "".join(choice.delta.content or "" for event in stream for choice in event.data.choices)
    assert said == "42"


def test_a_tool_round_trip(chat: Any) -> None:
    """A demanded call, and its result sent back."""
    tools = [{"type": "function", "function": WEATHER}]
    messages: list[Any] = [{"role": "user", "content": ASK_WEATHER}]
    first = chat.complete(model=MODEL, messages=messages, tools=tools, tool_choice="any", temperature=0)
    [call] = first.choices[0].message.tool_calls
    arguments = call.function.arguments
    assert call.function.name == "get_weather"
    assert (json.loads(arguments) if isinstance(arguments, str) else arguments) == IN_PARIS
    messages += [
        first.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": '{"temperature": 21}'},
    ]
    answer = chat.complete(model=MODEL, messages=messages, tools=tools, temperature=0)
    assert "temperature is 21" in answer.choices[0].message.content


def test_a_picture(chat: Any) -> None:
    """Its own form of a picture: the URL alone."""
    content = [
        {"type": "text", "text": "What colour is the circle?"},
        {"type": "image_url", "image_url": picture()},
    ]
    answer = chat.complete(model=MODEL, messages=[{"role": "user", "content": content}], temperature=0)
    assert answer.choices[0].message.content == "red"
