"""What a server does wrong, and what becomes of it: tried elsewhere, passed on, or an error event."""

import json
from typing import Any

import pytest

from serve_app.engine.upstream import events as server_events
from serve_app.errors import PoolBusy, ReplicaLost
from serve_app.types import Head
from tests.serve_app.engine.upstream.server import (
    DONE,
    Step,
    chat,
    connected,
    data,
    delta,
    head,
    serving,
    stream,
    whole,
)
from tests.serve_app.engine.upstream.test_backend import ask, report
from tests.serve_app.samples import Clock

WRONG: list[tuple[str, list[Step] | tuple[Step, ...], bool, str]] = [
    ("500", [whole({}, status="500 Oh")], False, "answered with status 500"),
    ("its own key", [whole({"error": "key sk-1"}, status="401 No")], False, "answered with status 401"),
    ("a route that it lacks", [whole({}, status="404 No")], False, "answered with status 404"),
    ("a redirect", [whole({}, "location: /x", status="307 Go")], True, "answered with status 307"),
    ("closed at once", [b""], False, "cannot be reached: RemoteProtocolError"),
    ("not HTTP", [b"\x16\x03\x01garbage\r\n\r\n"], False, "cannot be reached: RemoteProtocolError"),
    ("HTML", [head("text/html"), b"<p>"], False, "answer is of type text/html, not application/json"),
    ("a whole answer for a stream", [whole({})], True, "of type application/json, not text/event-stream"),
    ("compressed", [whole({}, "content-encoding: gzip")], False, "encoded as gzip, which nobody asked for"),
    ("not JSON", [whole(b"{")], False, "answer is not JSON"),
    ("deeper than any answer", [whole(b"[" * 100_000)], False, "answer is not JSON (RecursionError)"),
    ("a list", [whole([])], False, "answer is a JSON list, not an object"),
    ("no choices", [whole({"id": 1})], False, "not of its dialect's form (KeyError)"),
    ("half of it", [head("application/json", "content-length: 9"), b"{"], False, "(RemoteProtocolError)"),
    ("an empty stream", stream(), True, "cut off before its last event"),
    ("only comments", stream(b": ping\n\n" * 3), True, "cut off before its last event"),
    ("an event of garbage", stream(b"data: nonsense\n\n"), True, "answer is not JSON"),
    ("choices that are none", stream(data({"choices": [1]})), True, "not of its dialect's form"),
    ("an endless line", stream(*[b"data: " + b"x" * 60_000] * 30), True, "longer than 1000000 bytes"),
    ("an error first", stream(data({"error": {"message": "m", "code": 500}})), True, "has an error in it"),
    ("nothing", stream(None), True, "broke off the answer (ReadTimeout)"),
    ("never a head", [None], True, "cannot be reached: ReadTimeout"),
]


@pytest.mark.parametrize(("script", "is_stream", "says"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
async def test_wrong_before_the_first_byte(
    script: list[Step], is_stream: bool, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replica counts as lost, so that another one is tried; nothing has reached the client."""
    monkeypatch.setattr(server_events.Events.__init__, "__defaults__", (1_000_000,))
    async with serving(script) as server, connected(server, silence_timeout_s=0.3) as backend:
        with pytest.raises(ReplicaLost) as lost:
            await ask(backend, chat(stream=is_stream))
        assert backend._server.speed.num_ongoing == 0
    assert lost.value.message.startswith("replica overflow: its server")
    assert says in lost.value.message
    assert "sk-1" not in lost.value.message
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ((), "cut off before its last event"),
        ((b"data: {", 0.01), "cut off before its last event"),
        ((b"data: {}}\n\n",), "not JSON"),
        ((data({"error": {"message": "m", "code": 400}}), DONE), "has an error in it"),
        ((None,), "ReadTimeout"),
    ],
)
async def test_wrong_in_mid_stream(rest: tuple[Step, ...], says: str) -> None:
    """What has been said is passed on, then the replica is lost: the ingress ends the stream in an error."""
    async with (
        serving(stream(delta(content="a"), 0.05, *rest)) as server,
        connected(server, silence_timeout_s=0.3) as backend,
    ):
        items = backend.open("overflow", chat(stream=True))
        assert isinstance(await anext(items), Head)
        with pytest.raises(ReplicaLost, match=says):
            async for _ in items:
                pass


@pytest.mark.parametrize(
    ("script", "retry_after"),
    [
        ([whole({}, "retry-after: 7", status="429 Slow")], "7"),
        ([whole({}, status="503 Full")], "1"),
        ([whole({}, "retry-after: 86400", status="429 Quota")], "300"),
        (stream(data({"error": {"message": "m", "code": 429}})), "1"),
    ],
)
async def test_too_much_to_do(script: list[Step], retry_after: str) -> None:
    """It is left alone for as long as it says: no request and no policy goes there until then."""
    clock = Clock()
    async with serving(script) as server, connected(server, clock) as backend:
        with pytest.raises(PoolBusy) as busy:
            await ask(backend, chat(stream=script[0] == stream()[0]))
        assert busy.value.headers == {"retry-after": retry_after}
        assert (await report(backend)).is_draining
        with pytest.raises(PoolBusy, match="left alone for another"):
            await ask(backend, chat())
        assert len(server.requests) == 1
        clock.now_s += int(retry_after)
        assert not (await report(backend)).is_draining


async def test_failing_again_and_again() -> None:
    """After three failures in a row it gets nothing for a second, then one chance."""
    clock = Clock()
    bad, good = [whole({}, status="500 Oh")], [whole({"choices": []})]
    async with serving(bad, bad, bad, bad, good) as server, connected(server, clock) as backend:
        for _ in range(3):
            assert not (await report(backend)).is_draining
            with pytest.raises(ReplicaLost):
                await ask(backend, chat())
        assert (await report(backend)).is_draining
        clock.now_s += 1
        with pytest.raises(ReplicaLost):
            await ask(backend, chat())
        clock.now_s += 1
        assert (await report(backend)).is_draining, "twice as long"
        clock.now_s += 1
        await ask(backend, chat())
        assert not (await report(backend)).is_draining


REFUSALS: list[tuple[Any, str, str | None]] = [
    ({"error": {"message": "too long", "param": "messages", "code": "x"}}, "too long", "messages"),
    ({"object": "error", "message": "bad", "param": None}, "bad", None),
    ({"error": "no", "error_type": "validation"}, "no", None),
    ({"detail": [{"loc": ["body", "n"], "msg": "no"}]}, '[{"loc": ["body", "n"], "msg": "no"}]', None),
    (b"<html>no</html>", "<html>no</html>", None),
    (b"", "the request was refused with 422", None),
    ([], "[]", None),
]


@pytest.mark.parametrize(("given", "message", "param"), REFUSALS)
async def test_the_clients_mistake(given: Any, message: str, param: str | None) -> None:
    """A 4xx about the request is passed on in OpenAI's form, whatever form it had."""
    async with serving([whole(given, status="422 No")]) as server, connected(server) as backend:
        answer, content = await ask(backend, chat())
        assert not (await report(backend)).is_draining
    assert (answer.status, answer.header(b"x-venturi-replica")) == (422, b"overflow")
    kind = "invalid_request_error"
    assert json.loads(content) == {"error": {"message": message, "type": kind, "param": param, "code": 422}}


async def test_the_clients_mistake_as_first_event() -> None:
    """What vLLM says in the first event of a stream still gets its status."""
    error = {"message": "too long", "type": "BadRequestError", "param": "n", "code": 400}
    async with serving(stream(data({"error": error}), DONE)) as server, connected(server) as backend:
        answer, content = await ask(backend, chat(stream=True))
    assert (answer.status, answer.is_event_stream) == (400, False)
    assert json.loads(content)["error"] == error | {"type": "invalid_request_error"}
