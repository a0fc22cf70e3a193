"""Have the items at the end of a streamed response the ids of its events?"""

import inspect
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from serve_app.engine import response_ids


def item(kind: str, **ids: str) -> SimpleNamespace:
    """An item of a response."""
    return SimpleNamespace(type=kind, **ids)


def stream(done: list[Any], output: list[Any]) -> Any:
    """A generator like vLLM's."""

    async def events(_: object) -> AsyncIterator[Any]:
        yield SimpleNamespace(type="response.created", response=SimpleNamespace(output=[]))
        for one in done:
            yield SimpleNamespace(type="response.output_item.done", item=one)
        yield SimpleNamespace(type="response.completed", response=SimpleNamespace(output=output))

    return events


async def final(done: list[Any], output: list[Any]) -> list[dict[str, str]]:
    """The items at the end."""
    events = [event async for event in response_ids.kept(stream(done, output))(None)]
    assert len(events) == len(done) + 2
    return [vars(one) for one in events[-1].response.output]


async def test_the_ids_are_those_of_the_events() -> None:
    """Item for item; a call keeps its call id, by which it is answered."""
    done = [item("reasoning", id="r1"), item("function_call", id="f1", call_id="c1")]
    output = [item("reasoning", id="r2"), item("function_call", id="f2", call_id="c2")]
    assert await final(done, output) == [
        {"type": "reasoning", "id": "r1"},
        {"type": "function_call", "id": "f1", "call_id": "c1"},
    ]


async def test_items_that_do_not_match_keep_theirs() -> None:
    """Where the second parse found something else, nothing is made up."""
    output = [item("message", id="m2"), item("message", id="m3")]
    assert await final([item("reasoning", id="r1")], output) == [
        {"type": "message", "id": "m2"},
        {"type": "message", "id": "m3"},
    ]


def test_installing_twice_changes_nothing() -> None:
    """The route is wrapped once."""
    from vllm.entrypoints.openai.responses.serving import OpenAIServingResponses

    before = inspect.unwrap(OpenAIServingResponses.responses_stream_generator)
    try:
        response_ids.install()
        once = OpenAIServingResponses.responses_stream_generator
        response_ids.install()
        assert OpenAIServingResponses.responses_stream_generator is once
        assert inspect.unwrap(once) is before
    finally:
        OpenAIServingResponses.responses_stream_generator = before
