"""Readiness: a replica takes traffic only after decoded tokens at each effort."""

import json
from collections.abc import AsyncIterator, Callable

import pytest

from serve_app.engine import readiness
from serve_app.engine.scripted import ScriptedStream, Step
from serve_app.errors import StartError
from serve_app.types import Call, Head


def answered(status: int, body: object) -> tuple[Step, ...]:
    """Return the script of one answer."""
    text = json.dumps(body).encode()
    return Head(status), text[:5], text[5:]


def tokens(count: int = readiness.MOST_TOKENS) -> tuple[Step, ...]:
    """Return the script of an answer of that many tokens."""
    return answered(200, {"usage": {"completion_tokens": count}})


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
    """One request for a few sampled tokens goes out at each effort, on the path that clients use."""
    open_stream, calls = replica(tokens(), tokens())
    await readiness.check(open_stream, "mistral-small-4")
    assert {(c.method, c.path) for c in calls} == {("POST", "/v1/chat/completions")}
    bodies = [json.loads(call.body) for call in calls]
    assert [body["reasoning_effort"] for body in bodies] == ["none", "high"]
    assert {(body["model"], body["max_tokens"]) for body in bodies} == {("mistral-small-4", 8)}
    assert all(body["temperature"] > 0 for body in bodies)


@pytest.mark.parametrize(
    ("scripts", "message", "num_calls"),
    [
        (
            (answered(500, "engine dead"),),
            'readiness: effort none answered 500, not 200: "engine dead"',
            1,
        ),
        ((tokens(), answered(404, "who?")), 'readiness: effort high answered 404, not 200: "who?"', 2),
        ((tokens(0),), "readiness: effort none decoded 0 tokens, not 1 to 8", 1),
        ((tokens(1), tokens(9)), "readiness: effort high decoded 9 tokens, not 1 to 8", 2),
        (((),), "readiness: effort none answered 0, not 200: ", 1),
    ],
)
async def test_anything_else_is_not_ready(
    scripts: tuple[tuple[Step, ...], ...], message: str, num_calls: int
) -> None:
    """Another status or another count stops the start, and the error says which effort and what came."""
    open_stream, calls = replica(*scripts)
    with pytest.raises(StartError) as refused:
        await readiness.check(open_stream, "m")
    assert str(refused.value) == message
    assert len(calls) == num_calls


async def test_a_long_answer_is_cut() -> None:
    """An error page does not fill the log."""
    open_stream, _ = replica(answered(500, "x" * 10_000))
    with pytest.raises(StartError) as refused:
        await readiness.check(open_stream, "m")
    assert len(str(refused.value)) < 600
