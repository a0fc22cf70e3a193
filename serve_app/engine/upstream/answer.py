"""How does one request to a server that is not ours become a head and then bytes, or an error?

Before the first byte, what is the server's fault raises PoolBusy or ReplicaLost, so that another replica is
tried; what is the client's passes, in OpenAI's form. After it, whatever breaks raises ReplicaLost.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from serve_app.config import Merge
from serve_app.engine.upstream import words
from serve_app.engine.upstream.events import Events, TooLong
from serve_app.engine.upstream.health import Health
from serve_app.engine.upstream.link import Link, Unreachable
from serve_app.engine.upstream.speed import Speed
from serve_app.engine.upstream.words import DONE, NotUnderstood
from serve_app.errors import PoolBusy, ReplicaLost
from serve_app.types import BYTES_PER_TOKEN, Call, Head

BUSY = (429, 503)
OPERATORS = (401, 402, 403, 404, 405, 407, 408)
"""Refusals that are not about the request but about key, account or route: no client could mend them."""
JSON, EVENT_STREAM = "application/json", "text/event-stream"
MAX_ANSWER_BYTES = 64 * 2**20
MAX_REFUSAL_BYTES = 2**16
END_PATIENCE_S = 0.5
"""How long a connection may take to end its answer after the last event."""


@dataclass(frozen=True)
class Server:
    """One server: how it is spoken to, and what has been seen of it."""

    pool: str
    model: str
    """The model's name there,"""
    our_model: str
    """and here, for requests that name none."""
    merge: Merge
    link: Link
    health: Health
    speed: Speed
    clock: Callable[[], float]

    def failed(self, why: object) -> ReplicaLost:
        """Note that the server did not do its part, and return the error that says so."""
        self.health.failed()
        return ReplicaLost(f"replica {self.pool}: {why}")


async def answered(server: Server, call: Call) -> AsyncGenerator[Head | bytes, None]:
    """Yield the answer to `call`; closing the generator closes the connection."""
    body = words.parsed(call.body)
    is_stream = body.get("stream") is True
    content = words.asked(call.path, body, server.model, server.merge)
    model = str(body.get("model") or server.our_model)
    sent_s = server.clock()
    try:
        response = await server.link.post(call, content, is_stream)
    except Unreachable as error:
        server.health.is_there = False
        raise server.failed(f"its server cannot be reached: {error}") from error
    try:
        if response.status_code != 200:
            yield await _refused(server, response)
        elif is_stream:
            stream = _Stream(call.path, model, len(content) // BYTES_PER_TOKEN, sent_s)
            async with aclosing(_streamed(server, response, stream)) as items:
                async for item in items:
                    yield item
        else:
            yield await _whole(server, response, call.path, model, sent_s)
    except httpx.TransportError as error:
        raise server.failed(f"its server broke off the answer ({type(error).__name__})") from error
    except (NotUnderstood, TooLong) as error:
        raise server.failed(f"its server's answer is {error}") from error
    finally:
        await response.aclose()


async def _refused(server: Server, response: httpx.Response) -> Head:
    """Return the server's refusal of a request that is wrong. Raises PoolBusy, ReplicaLost for others."""
    status = response.status_code
    if status in BUSY:
        raise _busy(server, status, response.headers.get("retry-after"))
    if not _is_clients(status):
        raise server.failed(f"its server answered with status {status}")
    content = await _content(response, MAX_REFUSAL_BYTES)
    server.health.answered()
    return _head(server, JSON, words.refusal(status, content), status)


def _busy(server: Server, status: int, retry_after: str | None) -> PoolBusy:
    pause_s = server.health.refused(retry_after)
    return PoolBusy(
        f"the server of pool {server.pool} answered with status {status}",
        headers={"retry-after": f"{pause_s:.0f}"},
    )


def _is_clients(status: int) -> bool:
    return 400 <= status < 500 and status not in (*BUSY, *OPERATORS)


async def _whole(server: Server, response: httpx.Response, path: str, model: str, sent_s: float) -> Head:
    """Return a complete answer: as long as nothing has been sent on, it can still come from elsewhere."""
    _check_type(response, JSON)
    tree = words.parsed(await _content(response, MAX_ANSWER_BYTES))
    content = words.whole(path, tree, model)
    server.health.answered()
    if num_tokens := words.num_tokens(tree):
        server.speed.decoded(num_tokens, server.clock() - sent_s)
    return _head(server, JSON, content)


async def _streamed(
    server: Server, response: httpx.Response, stream: "_Stream"
) -> AsyncGenerator[Head | bytes, None]:
    _check_type(response, EVENT_STREAM)
    pieces = response.aiter_raw()
    try:
        while not stream.is_complete:
            piece = await anext(pieces, None)
            server.speed.heard(stream)
            if piece is None:
                raise NotUnderstood("cut off before its last event")
            try:
                said = stream.translate(piece)
            except _Refusal as refusal:
                yield _refused_late(server, stream, refusal)
                return
            if not said:
                continue
            if stream.has_begun:
                yield said
            else:
                stream.first_s = server.clock()
                server.speed.began(stream.first_s - stream.sent_s, stream.prompt_tokens)
                yield _head(server, EVENT_STREAM, said)
            server.speed.waits(stream)
    finally:
        server.speed.heard(stream)
    assert stream.first_s is not None, "the last event is one that is sent on"
    server.health.answered()
    server.speed.decoded(stream.num_tokens - 1, server.clock() - stream.first_s)
    with suppress(TimeoutError, httpx.TransportError):
        async with asyncio.timeout(END_PATIENCE_S):
            async for _ in pieces:
                pass  # a connection whose answer was read to its very end is used again


class _Refusal(Exception):
    """A stream says in an event what is wrong: vLLM begins one before it has looked at everything."""

    def __init__(self, error: Any) -> None:
        super().__init__("its server's stream has an error in it")
        code = error.get("code") if isinstance(error, dict) else None
        self.status = int(code) if isinstance(code, int | str) and str(code).isdecimal() else 500
        self.content = words.compact({"error": error})


def _refused_late(server: Server, stream: "_Stream", refusal: _Refusal) -> Head:
    if not stream.has_begun and refusal.status in BUSY:
        raise _busy(server, refusal.status, None)
    if stream.has_begun or not _is_clients(refusal.status):
        raise server.failed(refusal)
    server.health.answered()
    return _head(server, JSON, words.refusal(refusal.status, refusal.content), refusal.status)


@dataclass(eq=False)
class _Stream:
    """One stream on its way."""

    path: str
    model: str
    prompt_tokens: int
    sent_s: float
    first_s: float | None = None
    is_complete: bool = False
    _num_events: int = 0
    _num_said: int | None = None

    def __post_init__(self) -> None:
        self._events = Events()

    @property
    def has_begun(self) -> bool:
        """Whether something of it has been sent on."""
        return self.first_s is not None

    @property
    def num_tokens(self) -> int:
        """Its tokens until now; an event counts as one until the server says how many they are."""
        return self._num_said or self._num_events

    def translate(self, piece: bytes) -> bytes:
        """Return the events that end in `piece` as our clients read them.

        Raises NotUnderstood, TooLong, _Refusal.
        """
        said = []
        for event in self._events.feed(piece):
            if event.data == DONE:
                said.append(b"data: [DONE]\n\n")
                self.is_complete = True
                break
            tree = words.parsed(event.data)
            if tree.get("error") and not event.name:
                raise _Refusal(tree["error"])
            said.append(words.event(self.path, event.name, tree, self.model))
            self._num_events += 1
            self._num_said = words.num_tokens(tree) or self._num_said
            if words.is_last(self.path, tree):
                self.is_complete = True
                break
        return b"".join(said)


def _head(server: Server, content_type: str, opening: bytes, status: int = 200) -> Head:
    return Head(status, ((b"content-type", content_type.encode()),)).signed(server.pool, opening)


def _check_type(response: httpx.Response, wanted: str) -> None:
    content_type = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != wanted:
        raise NotUnderstood(f"of type {content_type[:100] or 'unknown'}, not {wanted}")
    if (encoding := response.headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise NotUnderstood(f"encoded as {encoding[:100]}, which nobody asked for")


async def _content(response: httpx.Response, max_bytes: int) -> bytes:
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > max_bytes:
            raise NotUnderstood(f"longer than {max_bytes} bytes")
    return bytes(content)
