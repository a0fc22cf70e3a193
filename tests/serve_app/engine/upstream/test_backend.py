"""A server that is not ours, over real sockets: what it is sent, what comes back, and when it is asked."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from serve_app.engine.upstream import UpstreamBackend
from serve_app.errors import PoolBusy, ReplicaLost
from serve_app.types import Call, Head, ReplicaReport
from tests.serve_app.engine.upstream.server import (
    DONE,
    chat,
    connected,
    delta,
    events,
    gone,
    serving,
    stream,
    whole,
)
from tests.serve_app.samples import Clock

ANSWER = {
    "model": "theirs",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15},
}


async def ask(backend: UpstreamBackend, call: Call) -> tuple[Head, bytes]:
    """Return the whole answer."""
    items = [item async for item in backend.open("overflow", call)]
    assert isinstance(items[0], Head)
    return items[0], items[0].opening + b"".join(item for item in items[1:] if isinstance(item, bytes))


async def report(backend: UpstreamBackend) -> ReplicaReport:
    """Return the server's report."""
    (one,) = await backend.reports(0)
    assert one is not None
    return one


async def test_a_whole_answer() -> None:
    """The request has the server's name of the model and the effort, the answer ours and both reasonings."""
    async with serving([whole(ANSWER)]) as server, connected(server) as backend:
        head, content = await ask(backend, chat(reasoning_effort="high"))
    (request,) = server.requests
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.said == json.loads(chat().body) | {"model": "theirs", "reasoning_effort": "high"}
    assert request.headers["x-request-id"] == "r-1"
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in request.headers
    assert (head.status, head.header(b"x-venturi-replica")) == (200, b"overflow")
    assert head.header(b"content-type") == b"application/json"
    said = json.loads(content)
    assert said["model"] == "small"
    assert said["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "reasoning": "Hm",
        "reasoning_content": "Hm",
    }
    assert said["usage"] == ANSWER["usage"]


async def test_a_stream_goes_on_as_it_comes() -> None:
    """Each event is passed on before the next one is there, however the bytes are cut."""
    more, event = asyncio.Event(), delta(content="b")
    script = stream(b": ping\r\n\r\n", delta(reasoning="a"), more, event[:20], 0.01, event[20:], DONE)
    async with serving(script) as server, connected(server) as backend:
        items = backend.open("overflow", chat(stream=True, reasoning_effort="high"))
        head = await anext(items)
        assert isinstance(head, Head)
        assert head.is_event_stream
        (first,) = events(head.opening)
        assert first["model"] == "small"
        assert first["choices"][0]["delta"] == {"reasoning": "a", "reasoning_content": "a"}
        more.set()
        rest = b"".join([item async for item in items if isinstance(item, bytes)])
    assert [e if e == "[DONE]" else e["choices"][0]["delta"] for e in events(rest)] == [
        {"content": "b"},
        "[DONE]",
    ]
    assert server.requests[0].headers["accept"] == "text/event-stream"


async def test_other_dialects_keep_their_words() -> None:
    """Of responses only the model's name changes, and the stream ends with its own last event."""
    created = b'event: response.created\ndata: {"type":"response.created","response":{"model":"theirs"}}\n\n'
    last = b'event: response.completed\ndata: {"type":"response.completed","response":{"model":"theirs"}}\n\n'
    body = {"model": "small", "input": "Hello", "stream": True, "reasoning": {"effort": "high"}}
    call = Call("POST", "/v1/responses", body=json.dumps(body).encode())
    async with serving(stream(created, last, None)) as server:
        async with connected(server, dialects=["responses"]) as backend:
            _, content = await ask(backend, call)
        await gone(server)
    assert server.requests[0].said == body | {"model": "theirs"}
    assert content == (created + last).replace(b"theirs", b"small")


async def test_the_client_leaves() -> None:
    """Cancelling the stream closes the connection, and frees its place."""
    async with serving(stream(delta(content="a"), None)) as server, connected(server) as backend:
        items = backend.open("overflow", chat(stream=True))
        await anext(items)
        assert (await report(backend)).num_ongoing == 1
        items.cancel()
        items.cancel()
        await gone(server)
        assert (await report(backend)).num_ongoing == 0


async def test_a_client_that_leaves_before_the_first_byte() -> None:
    """Whoever waits for the head and is cancelled leaves no connection behind."""
    async with serving([None]) as server, connected(server) as backend:
        items = backend.open("overflow", chat())
        waiting = asyncio.create_task(ask(backend, chat()))
        while not server.requests:
            await asyncio.sleep(0.002)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        items.cancel()  # never read
        await gone(server)
        assert (await report(backend)).num_ongoing == 0


async def test_no_more_than_its_limit() -> None:
    """A request over the limit is refused at once, without asking the server."""
    async with (
        serving(stream(delta(content="a"), None)) as server,
        connected(server, max_ongoing_requests=1) as backend,
    ):
        first = backend.open("overflow", chat(stream=True))
        await anext(first)
        with pytest.raises(PoolBusy, match=r"has 1 requests .*max_ongoing_requests=1") as refused:
            await ask(backend, chat())
        assert refused.value.headers == {"retry-after": "1"}
        assert len(server.requests) == 1
        first.cancel()


async def test_the_server_is_slowed_by_a_slow_reader() -> None:
    """What nobody reads is not taken from the server: it can send little more than its socket holds."""
    sent = asyncio.Event()

    class Noting(asyncio.Event):
        async def wait(self) -> Any:
            sent.set()

    script = stream(delta(content="a"), *[delta(content="b" * 100_000)] * 300, Noting(), DONE)
    async with serving(script) as server, connected(server) as backend:
        items = backend.open("overflow", chat(stream=True))
        await anext(items)
        await asyncio.sleep(0.3)
        assert not sent.is_set()
        async for _ in items:
            pass
        assert sent.is_set()


async def test_a_server_that_is_away() -> None:
    """It is silent until it is there, and again from the moment that a request finds it gone."""
    clock = Clock()
    async with serving([whole(ANSWER)]) as server, connected(server, clock) as backend:
        assert (await report(backend)).max_model_len == 4096
        server.models = whole({}, status="500 Oh no")
        clock.now_s += 6
        await backend.reports(0)
        assert backend._probe
        await backend._probe
        assert await backend.reports(0) == [None]
        server.models = whole({"data": []})
        clock.now_s += 1
        await backend.reports(0)
        await backend._probe
        assert await report(backend)
    async with connected(server) as backend:  # nobody listens any more
        assert await backend.reports(0) == [None]
        with pytest.raises(ReplicaLost, match=r"cannot be reached: ConnectError"):
            await ask(backend, chat())


async def test_a_key_from_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The key of the file goes along, is read again with each probe, and is never logged."""
    file, clock = tmp_path / "key", Clock()
    file.write_text("sk-one\n")
    caplog.set_level(logging.DEBUG)
    async with (
        serving([whole(ANSWER)]) as server,
        connected(server, clock, key_file=str(file)) as backend,
    ):
        await ask(backend, chat())
        file.write_text("sk-two\n")
        clock.now_s += 6
        await backend.reports(0)
        assert backend._probe
        await backend._probe
        await ask(backend, chat())
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer sk-one",
        "Bearer sk-two",
    ]
    assert server.probes[0].headers["authorization"] == "Bearer sk-one"
    assert "sk-" not in caplog.text


async def test_a_key_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its key the server is not asked, and the log names the variable."""
    monkeypatch.delenv("SOME_KEY", raising=False)
    async with serving([whole(ANSWER)]) as server, connected(server, key_env="SOME_KEY") as backend:
        assert await backend.reports(0) == [None]
        assert not server.probes
    assert "$SOME_KEY has no key in it" in caplog.text


async def test_a_model_that_it_does_not_have(caplog: pytest.LogCaptureFixture) -> None:
    """A name that its list lacks is logged: some servers take any."""
    async with serving([whole(ANSWER)]) as server, connected(server, model="other") as backend:
        assert (await report(backend)).max_model_len is None
    assert "the model 'other' is not in its list, but ['theirs']" in caplog.text


async def test_what_is_measured() -> None:
    """First token and time a token of streams are reported, and a stream that hangs as stalled."""
    clock, first, more = Clock(), asyncio.Event(), asyncio.Event()
    usage = {"model": "theirs", "choices": [], "usage": {"completion_tokens": 11}}
    script = stream(first, delta(content="a"), more, b"data: " + json.dumps(usage).encode() + b"\n\n", DONE)
    async with serving(script) as server, connected(server, clock) as backend:
        items = backend.open("overflow", chat(stream=True))
        waiting = asyncio.ensure_future(anext(items))
        while not server.requests:
            await asyncio.sleep(0.002)
        clock.now_s += 0.5
        first.set()
        await waiting
        reading = asyncio.ensure_future(ask_rest(items))
        await asyncio.sleep(0.01)
        clock.now_s += 2
        assert (await report(backend)).stalled_s == 2
        more.set()
        await reading
        said = await report(backend)
    assert said.ttft_s == said.prefill_s == pytest.approx(0.5)
    assert said.per_token_s == pytest.approx(0.2)
    assert said.stalled_s == 0


async def ask_rest(items: Any) -> None:
    """Read a stream to its end."""
    async for _ in items:
        pass
