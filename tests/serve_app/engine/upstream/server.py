"""A server on a real socket that answers as it is told to, rightly or wrongly."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from serve_app.config import parse
from serve_app.engine.upstream import UpstreamBackend
from serve_app.types import Call
from tests.serve_app.samples import Clock, args, until

Step = bytes | float | asyncio.Event | None
"""What a server does next: send, sleep, wait for the test, or (None) say nothing until the client goes."""

MODELS = json.dumps({"data": [{"id": "theirs", "max_model_len": 4096}]}).encode()
DONE = b"data: [DONE]\n\n"
CHAT = "/v1/chat/completions"


def head(content_type: str, *headers: str, status: str = "200 OK") -> bytes:
    """Return the head of an answer that ends with the connection."""
    lines = (f"HTTP/1.1 {status}", f"content-type: {content_type}", "connection: close", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def whole(tree: Any, *headers: str, status: str = "200 OK") -> bytes:
    """Return a complete JSON answer."""
    content = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return head("application/json", f"content-length: {len(content)}", *headers, status=status) + content


def chunked(*pieces: bytes) -> bytes:
    """Return a whole stream on a connection that stays."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    lines = (b"HTTP/1.1 200 OK", b"content-type: text/event-stream", b"transfer-encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n" + chunks + b"0\r\n\r\n"


def data(tree: Any) -> bytes:
    """Return a server-sent event."""
    return b"data: " + json.dumps(tree).encode() + b"\n\n"


def delta(**said: Any) -> bytes:
    """Return an event of a chat stream."""
    choice = {"index": 0, "delta": said, "finish_reason": None}
    return data({"id": "x", "model": "theirs", "choices": [choice]})


def stream(*steps: Step) -> tuple[Step, ...]:
    """Return a stream's head and what follows."""
    return (head("text/event-stream"), *steps)


@dataclass
class Request:
    """What came in: the first line, headers by lower-case name, the body."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


@dataclass
class Scripted:
    """The server: what it does for each request that is not a probe, the last script again and again."""

    scripts: list[Sequence[Step]] = field(default_factory=list)
    models: bytes = whole(MODELS)
    requests: list[Request] = field(default_factory=list)
    probes: list[Request] = field(default_factory=list)
    num_connections: int = 0
    num_gone: int = 0
    """Clients that left before the end."""
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection: with one script, or as long as its answers are in chunks."""
        self.num_connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.num_gone += 1
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await _read(reader)
        if request.line.startswith("GET "):
            self.probes.append(request)
            script: Sequence[Step] = (self.models,)
        else:
            self.requests.append(request)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        await self._play(script, reader, writer)
        await writer.drain()
        return any(isinstance(step, bytes) and b"\r\n0\r\n\r\n" in step for step in script)

    async def _play(
        self, script: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step is None:
                assert await reader.read() == b""
                self.num_gone += 1
            else:
                await step.wait()


async def _read(reader: asyncio.StreamReader) -> Request:
    line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    pairs = (header.partition(": ") for header in rest)
    headers = {name.lower(): value for name, _, value in pairs}
    return Request(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@asynccontextmanager
async def serving(*scripts: Sequence[Step], tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Run a scripted server on loopback."""
    scripted = Scripted(list(scripts))
    listening = await asyncio.start_server(scripted.serve, "127.0.0.1", 0, ssl=tls)
    scripted.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield scripted


def upstream(scripted: Scripted, **settings: Any) -> dict[str, Any]:
    """Return what a serve file says of the server."""
    return {"url": f"http://127.0.0.1:{scripted.port}/v1", "model": "theirs"} | settings


@asynccontextmanager
async def connected(
    scripted: Scripted, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[UpstreamBackend]:
    """Yield a backend that has seen the server."""
    pool = {"efforts": [], "upstream": upstream(scripted, **settings)}
    backend = UpstreamBackend(parse(args({"pools.overflow": pool})), "overflow", clock or Clock())
    try:
        await backend.reports(0)
        assert backend._probe
        await backend._probe
        yield backend
    finally:
        await backend.close()


def chat(**fields: Any) -> Call:
    """Return a request as the ingress sends it on."""
    body = {"model": "small", "messages": [{"role": "user", "content": "Hello"}], **fields}
    headers = ((b"content-type", b"application/json"), (b"x-request-id", b"r-1"))
    return Call("POST", CHAT, headers, json.dumps(body).encode())


def events(content: bytes) -> Iterator[Any]:
    """Yield the data of the events of a stream, [DONE] as a string."""
    for event in content.strip().split(b"\n\n"):
        text = event.split(b"data: ", 1)[1]
        yield "[DONE]" if text == b"[DONE]" else json.loads(text)


async def gone(scripted: Scripted) -> None:
    """Wait until the server has seen a client leave."""
    await until(lambda: scripted.num_gone > 0)
