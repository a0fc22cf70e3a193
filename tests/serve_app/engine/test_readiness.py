"""Readiness: a replica takes traffic only after answers in the form of chat at each effort."""

import json
from collections.abc import AsyncIterator, Callable

import pytest

from serve_app.engine import readiness
from serve_app.engine.scripted import ScriptedStream, Step
from serve_app.errors import StartError
from serve_app.types import Call, Head
from tests.serve_app.conformance.speech import Chat, Payload, Told
from tests.serve_app.conformance.spoil import GONE, Spoil, put, without

ANSWER = Told(text="42", reasoning="", calls=())
CELLS = ("none, whole", "none, streamed", "high, whole", "high, streamed")


def count(num_tokens: int) -> Spoil:
    """Return what makes an answer one of that many tokens."""
    return put("usage", {"prompt_tokens": 7, "completion_tokens": num_tokens, "total_tokens": 7 + num_tokens})


def answered(status: int, body: object) -> tuple[Step, ...]:
    """Return the script of one answer in a piece."""
    text = json.dumps(body).encode()
    return Head(status), text[:5], text[5:]


def whole(spoil: Spoil = lambda body: body) -> tuple[Step, ...]:
    """Return the script of an answer that is right but for what spoils it."""
    return answered(200, spoil(Chat.whole(ANSWER)))


def streamed(spoil: Callable[[list[Payload]], list[Payload]] = lambda events: events) -> tuple[Step, ...]:
    """Return the script of a stream."""
    events = "".join(map(Chat.event, spoil(Chat.events(ANSWER))))
    return Head(200), f"{events}data: [DONE]\n\n".encode()


def replica(*scripts: tuple[Step, ...]) -> tuple[Callable[[Call], AsyncIterator[Head | bytes]], list[Call]]:
    """Return what opens a stream on a replica that answers by these scripts, and the calls it got."""
    calls: list[Call] = []

    def open_stream(call: Call) -> ScriptedStream:
        calls.append(call)
        return ScriptedStream(scripts[len(calls) - 1])

    return open_stream, calls


async def test_collect() -> None:
    """An answer is its status and all of its bytes."""
    assert await readiness.collect(ScriptedStream([Head(201), b"a", b"b"])) == (201, b"ab")


async def test_tokens_at_each_effort() -> None:
    """Requests for a few sampled tokens go out at each effort, on the path that clients use."""
    open_stream, calls = replica(whole(), streamed(), whole(), streamed())
    await readiness.check(open_stream, "mistral-small-4")
    assert {(c.method, c.path) for c in calls} == {("POST", "/v1/chat/completions")}
    bodies = [json.loads(call.body) for call in calls]
    asked = [(body["reasoning_effort"], body.get("stream", False)) for body in bodies]
    assert asked == [("none", False), ("none", True), ("high", False), ("high", True)]
    assert {(body["model"], body["max_tokens"]) for body in bodies} == {("mistral-small-4", 8)}
    assert all(body["temperature"] > 0 for body in bodies)


async def test_what_the_model_says_is_its_own_affair() -> None:
    """Reasoning that nobody asked for, or an end within a call: no fault of the server."""
    thinks = Told(text="", reasoning="Hm.", calls=())
    cut = put("choices.0.finish_reason", "length")
    called = cut(Chat.whole(Told(text="", reasoning="", calls=(("get_weather", {}),))))
    called = put("choices.0.message.tool_calls.0.function.arguments", '{"ci')(called)
    open_stream, calls = replica(
        answered(200, Chat.whole(thinks)), streamed(), answered(200, called), streamed()
    )
    await readiness.check(open_stream, "m")
    assert len(calls) == len(CELLS)


@pytest.mark.parametrize(
    ("scripts", "message"),
    [
        ((answered(500, "engine dead"),), 'answered 500, not 200: "engine dead"'),
        (((),), "answered 0, not 200: "),
        ((whole(), answered(404, "who?")), 'answered 404, not 200: "who?"'),
        ((whole(put("usage", GONE)),), "usage: is missing"),
        ((answered(200, "hello"),), "body: must be an object, not 'hello'"),
        (
            (whole(), streamed(without(-1))),
            "stream: has no last chunk without choices for the usage that was asked for",
        ),
        ((whole(), (Head(200), b"data: {")), "event 0: the stream ends within it: ['{']"),
        ((whole(count(0)),), "decoded 0 tokens, not 1 to 8"),
        (
            (whole(), streamed(), whole(count(9))),
            "decoded 9 tokens, not 1 to 8",
        ),
    ],
)
async def test_anything_else_is_not_ready(scripts: tuple[tuple[Step, ...], ...], message: str) -> None:
    """Another status, form or count stops the start, and the error says where and what came."""
    open_stream, calls = replica(*scripts)
    with pytest.raises(StartError) as refused:
        await readiness.check(open_stream, "m")
    assert str(refused.value) == f"readiness: effort {CELLS[len(scripts) - 1]}: {message}"
    assert len(calls) == len(scripts)


async def test_a_long_answer_is_cut() -> None:
    """An error page does not fill the log."""
    open_stream, _ = replica(answered(500, "x" * 10_000))
    with pytest.raises(StartError) as refused:
        await readiness.check(open_stream, "m")
    assert len(str(refused.value)) < 600
