"""An ASGI app as a stream: what comes out, in which pieces, and how the app learns that nobody listens."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.engine import asgi
from serve_app.types import Call, Head
from tests.serve_app.samples import until

GET = Call("GET", "/")


def app_of(*parts: bytes, pause_s: float | None = None, fails: Exception | None = None) -> ASGIApp:
    """Return an app that sends `parts`, with a pause before each, and then fails or ends."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"1")]})
        for part in parts:
            if pause_s is not None:
                await asyncio.sleep(pause_s)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        if fails:
            raise fails
        await send({"type": "http.response.body"})

    return app


async def read(stream: AsyncIterator[Head | bytes]) -> tuple[Head, list[bytes]]:
    """Return the head of an answer and the pieces of its body."""
    head, *body = [item async for item in stream]
    assert isinstance(head, Head)
    return head, [item for item in body if isinstance(item, bytes)]


async def echo(request: Request) -> Response:
    """Answer with the request."""
    seen = {
        "method": request.method,
        "path": request.url.path,
        "query": dict(request.query_params),
        "headers": dict(request.headers),
        "body": (await request.body()).decode(),
        "client": request.client,
    }
    return JSONResponse(seen, headers={"x-kept": "yes"})


ECHO = Starlette(routes=[Route("/echo", echo, methods=["GET", "POST"])])


async def test_the_request_arrives_whole() -> None:
    """Method, path, query, headers and body of the call are what the app sees."""
    call = Call("POST", "/echo?a=1&b=x%20y", ((b"content-type", b"text/plain"),), b"hello")
    _, body = await read(asgi.stream(ECHO, call))
    assert json.loads(b"".join(body)) == {
        "method": "POST",
        "path": "/echo",
        "query": {"a": "1", "b": "x y"},
        "headers": {"content-type": "text/plain"},
        "body": "hello",
        "client": None,
    }


async def test_head_first_and_without_its_length() -> None:
    """The head comes first, with every header but content-length, which a rewrite may make wrong."""
    head, _ = await read(asgi.stream(ECHO, Call("GET", "/echo")))
    assert head == Head(200, ((b"x-kept", b"yes"), (b"content-type", b"application/json")))


async def test_the_apps_own_errors_are_answers() -> None:
    """A status that the app chose comes out as it is."""
    head, body = await read(asgi.stream(ECHO, Call("GET", "/nowhere")))
    assert (head.status, body) == (404, [b"Not Found"])


async def test_head_before_the_body_is_there() -> None:
    """The head is not held back until the first byte of the body."""
    stream = asgi.stream(app_of(b"late", pause_s=60), GET)
    assert isinstance(await asyncio.wait_for(anext(stream), 5), Head)
    await stream.aclose()


async def test_a_quick_consumer_gets_every_message() -> None:
    """Messages that come one by one go out one by one."""
    _, body = await read(asgi.stream(app_of(b"a", b"b", b"c", pause_s=0.01), GET))
    assert body == [b"a", b"b", b"c"]


async def test_a_slow_consumer_gets_them_joined() -> None:
    """What has piled up while the consumer was busy goes out as one item, in order."""
    stream = asgi.stream(app_of(b"a", b"b", b"c"), GET)
    await anext(stream)
    await asyncio.sleep(0.02)
    assert [item async for item in stream] == [b"abc"]


async def test_empty_messages_are_no_items() -> None:
    """A body message without bytes is not passed on."""
    _, body = await read(asgi.stream(app_of(b"", b"a", b"", pause_s=0), GET))
    assert b"" not in body
    assert b"".join(body) == b"a"


@pytest.mark.parametrize("pause_s", [None, 0.01])
async def test_rewrite_sees_each_message(pause_s: float | None) -> None:
    """The app's own boundaries are those of the rewrite, also where messages are joined afterwards."""
    seen: list[bytes] = []

    def rewrite(message: bytes) -> bytes:
        seen.append(message)
        return message.upper()

    _, body = await read(asgi.stream(app_of(b"a", b"b", b"c", pause_s=pause_s), GET, rewrite))
    assert b"".join(body) == b"ABC"
    assert [message for message in seen if message] == [b"a", b"b", b"c"]


async def test_an_exception_after_what_was_sent() -> None:
    """An app that breaks off raises its own error here, behind the bytes that it had sent."""
    stream = asgi.stream(app_of(b"a", b"b", fails=ZeroDivisionError("broken"), pause_s=0.01), GET)
    assert [await anext(stream) for _ in range(3)] == [Head(200, ((b"x", b"1"),)), b"a", b"b"]
    with pytest.raises(ZeroDivisionError, match="broken"):
        await anext(stream)


async def test_an_exception_does_not_overtake() -> None:
    """A slow consumer, too, gets what was sent before the app broke off."""
    stream = asgi.stream(app_of(b"a", b"b", fails=ZeroDivisionError("broken")), GET)
    await anext(stream)
    await asyncio.sleep(0.02)
    assert await anext(stream) == b"ab"
    with pytest.raises(ZeroDivisionError, match="broken"):
        await anext(stream)


async def test_an_exception_before_the_head() -> None:
    """An app that answers nothing raises its error at once."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("at once")

    with pytest.raises(ZeroDivisionError, match="at once"):
        await anext(asgi.stream(app, GET))


class Endless:
    """An app that streams until it hears of the disconnect; it may then ignore it."""

    def __init__(self, *, heeds: bool) -> None:
        self.heeds = heeds
        self.heard = False
        self.ended_by: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one part, then listen."""
        try:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            self.heard = (await receive())["type"] == "http.disconnect"
            if not self.heeds:
                await asyncio.Event().wait()
            self.ended_by = "itself"
        except asyncio.CancelledError:
            self.ended_by = "cancellation"
            raise


async def test_early_close_is_a_disconnect() -> None:
    """An app whose reader has gone hears http.disconnect, and may end by itself."""
    app = Endless(heeds=True)
    stream = asgi.stream(app, GET)
    assert [await anext(stream), await anext(stream)] == [Head(200), b"a"]
    await stream.aclose()
    await until(lambda: app.ended_by is not None)
    assert (app.heard, app.ended_by) == (True, "itself")


async def test_an_app_that_ignores_the_disconnect_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After CANCEL_GRACE_S seconds, and not before, an app that goes on is cancelled."""
    monkeypatch.setattr(asgi, "CANCEL_GRACE_S", 0.05)
    app = Endless(heeds=False)
    stream = asgi.stream(app, GET)
    await anext(stream)
    await stream.aclose()
    await until(lambda: app.heard)
    assert app.ended_by is None
    await until(lambda: app.ended_by is not None)
    assert app.ended_by == "cancellation"


async def test_a_cancelled_reader_is_a_disconnect() -> None:
    """A reader that is cancelled while it waits leaves like one that closes."""
    app = Endless(heeds=True)
    reader = asyncio.create_task(read(asgi.stream(app, GET)))
    await asyncio.sleep(0.02)
    reader.cancel()
    await until(lambda: app.ended_by is not None)
    assert (app.heard, app.ended_by) == (True, "itself")


async def test_starlettes_own_streams_stop() -> None:
    """Starlette's StreamingResponse, which vLLM answers with, stops its generator at the disconnect."""
    stopped = asyncio.Event()

    async def words() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"word "
                await asyncio.sleep(0.01)
        finally:
            stopped.set()

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(words())

    stream = asgi.stream(Starlette(routes=[Route("/", endpoint)]), GET)
    await anext(stream)
    assert await anext(stream) == b"word "
    await stream.aclose()
    await asyncio.wait_for(stopped.wait(), 1)


async def test_one_app_serves_many_calls_at_once() -> None:
    """Streams over one app do not mix."""

    async def endpoint(request: Request) -> Response:
        await asyncio.sleep(0.01)
        return PlainTextResponse(request.query_params["n"])

    app = Starlette(routes=[Route("/", endpoint)])
    answers = await asyncio.gather(*(read(asgi.stream(app, Call("GET", f"/?n={n}"))) for n in range(20)))
    assert [b"".join(body) for _, body in answers] == [str(n).encode() for n in range(20)]
