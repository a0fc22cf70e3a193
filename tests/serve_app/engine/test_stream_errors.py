"""What vLLM's streams of messages and responses say when the engine refuses, with the fix and without."""

import inspect
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.engine import stream_errors

REFUSAL = 'data: {"error":{"message":"bad grammar","type":"BadRequestError","param":null,"code":%d}}\n\n'
CHUNK = (
    'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
    '"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],'
    '"usage":{"prompt_tokens":1,"total_tokens":1,"completion_tokens":0}}\n\n'
)


async def chat(*items: str) -> AsyncIterator[str]:
    """Return a chat stream of vLLM's."""
    for item in items:
        yield item


class Event(SimpleNamespace):
    """A response event, as vLLM's writer uses it."""

    def model_dump_json(self, **_: object) -> str:
        """Return the event as JSON."""
        return json.dumps(vars(self))


async def response(*steps: str | Exception) -> AsyncIterator[Event]:
    """Return events by type, or raise."""
    for step in steps:
        if isinstance(step, Exception):
            raise step
        yield Event(type=step)


async def collected(events: AsyncIterator[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return name and data of each event."""
    found = []
    async for event in events:
        name, data = event.removesuffix("\n\n").split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


@pytest.fixture
def upstream() -> tuple[Any, Any]:
    """Both functions as vLLM ships them."""
    from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
    from vllm.entrypoints.openai.responses import api_router

    return (
        inspect.unwrap(AnthropicServingMessages.message_stream_converter),
        inspect.unwrap(api_router._convert_stream_to_sse_events),
    )


async def test_the_symptoms(upstream: tuple[Any, Any]) -> None:
    """Without the fix, messages tell of validation errors instead, and responses raise."""
    convert, write = upstream
    ((name, data),) = await collected(convert(SimpleNamespace(), chat(REFUSAL % 400)))
    assert (name, data["error"]["type"]) == ("error", "internal_error")
    assert "validation error" in data["error"]["message"]
    with pytest.raises(ValueError, match="bad grammar"):
        await collected(write(response("response.created", ValueError("bad grammar"))))


@pytest.mark.parametrize(("code", "kind"), [(400, "invalid_request_error"), (500, "api_error")])
async def test_messages(upstream: tuple[Any, Any], code: int, kind: str) -> None:
    """The error is told in Anthropic's form, first or later, and no message_stop follows."""
    convert = stream_errors.messages(upstream[0])
    wanted = ("error", {"type": "error", "error": {"type": kind, "message": "bad grammar"}})
    self = SimpleNamespace(stop_reason_map={})
    assert await collected(convert(self, chat(REFUSAL % code, "data: [DONE]\n\n"))) == [wanted]
    begun, last = await collected(convert(self, chat(CHUNK, REFUSAL % code, "data: [DONE]\n\n")))
    assert (begun[0], last) == ("message_start", wanted)


async def test_messages_that_end_well(upstream: tuple[Any, Any]) -> None:
    """Streams without an error are as they were."""
    convert = upstream[0]
    items = (CHUNK, "data: [DONE]\n\n")
    self = SimpleNamespace(stop_reason_map={})
    mended = await collected(stream_errors.messages(convert)(self, chat(*items)))
    assert mended == await collected(convert(self, chat(*items)))
    assert [name for name, _ in mended] == ["message_start", "message_stop"]


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        (("response.created", "response.in_progress", ValueError("bad grammar")), ["error"]),
        (
            ("response.created", "response.in_progress", "x", ValueError("bad grammar")),
            ["response.created", "response.in_progress", "x", "error"],
        ),
    ],
)
async def test_responses(
    upstream: tuple[Any, Any], steps: tuple[str | Exception, ...], names: list[str]
) -> None:
    """A refusal comes before anything else, a later error after what was sent, and both are counted."""
    events = await collected(stream_errors.responses(upstream[1])(response(*steps)))
    assert [name for name, _ in events] == names
    assert events[-1][1] == {
        "type": "error",
        "code": "400",
        "message": "bad grammar",
        "param": None,
        "sequence_number": len(names) - 1,
    }


@pytest.mark.parametrize(
    "steps", [("response.created", "response.in_progress", "x", "y"), ("response.created",), ()]
)
async def test_responses_that_end_well(upstream: tuple[Any, Any], steps: tuple[str, ...]) -> None:
    """Streams without an error are as they were."""
    events = await collected(stream_errors.responses(upstream[1])(response(*steps)))
    assert events == [(step, {"type": step}) for step in steps]


def test_install_twice() -> None:
    """The second time changes nothing."""
    from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
    from vllm.entrypoints.openai.responses import api_router

    stream_errors.install()
    first = (AnthropicServingMessages.message_stream_converter, api_router._convert_stream_to_sse_events)
    stream_errors.install()
    assert first == (
        AnthropicServingMessages.message_stream_converter,
        api_router._convert_stream_to_sse_events,
    )
    assert all(hasattr(function, "__wrapped__") for function in first)
