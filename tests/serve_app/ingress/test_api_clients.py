"""Clients of the HTTP edge that leave, or cannot be reached: whatever they held is free again."""

import asyncio
import json
from typing import Any

import pytest

from serve_app.config import Ingress
from serve_app.engine.scripted import Step
from tests.serve_app.ingress.asking import CHAT, EVENTS, FREE, SSE, body
from tests.serve_app.samples import api, cancel, head, system, until


class Connection:
    """One HTTP connection to an app, of which the client can let go at any moment."""

    def __init__(self, *, fail_on: str = "", is_cut_off: bool = False) -> None:
        self.gone = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self._fail_on = fail_on
        self._content: bytes | None = json.dumps(body(stream=True)).encode()
        self._is_cut_off = is_cut_off

    async def receive(self) -> dict[str, Any]:
        """Give the body; then, once the client has left, the disconnect."""
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": self._is_cut_off}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message, or fail as a connection that is closed."""
        if message["type"] == self._fail_on:
            raise OSError("the connection is closed")
        self.sent.append(message)

    async def run(self, app: Any, spec_version: str) -> None:
        """Send the request."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "method": "POST",
            "path": CHAT,
            "raw_path": CHAT.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "root_path": "",
        }
        await app(scope, self.receive, self.send)

    @property
    def status(self) -> int | None:
        """The status that the client would have seen."""
        return self.sent[0]["status"] if self.sent else None


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param((10.0, head("t1")), 499, id="before the head"),
        pytest.param((head("t1"), b"{", 10.0), 499, id="within a whole answer"),
        pytest.param((head("t1", SSE), EVENTS[0], 10.0), 200, id="within a stream"),
    ],
)
async def test_a_client_that_leaves(script: tuple[Step, ...], status: int) -> None:
    """Whenever a client leaves, the engine stops, and the replica is free again."""
    parts = await system({"t1": script}).refresh()
    connection = Connection()
    task = asyncio.create_task(connection.run(api(parts), "2.3"))
    await until(lambda: parts.num_leases()["throughput"] == 1)
    await asyncio.sleep(0.02)
    connection.gone.set()
    await asyncio.wait_for(task, 1)
    assert connection.status == status
    assert parts.num_leases() == FREE
    assert parts.num_cancels() == 1


async def test_a_client_that_leaves_within_its_body() -> None:
    """That is no fault of ours: nothing is logged as one, and no error is counted."""
    parts = await system({"t1": ()}).refresh()
    connection = Connection(is_cut_off=True)
    connection.gone.set()
    await connection.run(api(parts), "2.3")
    assert connection.status == 499
    assert parts.asked() == []
    assert parts.counted("venturi_errors_total", status="500", code="internal_error") == 0


async def test_a_body_that_does_not_come() -> None:
    """The time for an answer holds from the first byte of the request."""
    parts = await system({"t1": ()}).refresh()
    connection = Connection(is_cut_off=True)
    limits = Ingress(request_timeout_s=0.05)
    await asyncio.wait_for(connection.run(api(parts, limits=limits), "2.3"), 1)
    assert connection.status == 504


@pytest.mark.parametrize("fail_on", ["http.response.start", "http.response.body"])
@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_connection_that_breaks(fail_on: str, spec_version: str) -> None:
    """A server that cannot deliver, not even the head, frees the replica all the same."""
    parts = await system({"t1": (head("t1", SSE), *EVENTS, 10.0)}).refresh()
    with pytest.raises(Exception):  # noqa: B017, PT011 - Starlette names it by the spec version
        await Connection(fail_on=fail_on).run(api(parts), spec_version)
    await until(lambda: parts.num_leases() == FREE)
    assert parts.num_cancels() == 1


@pytest.mark.parametrize("content_type", ["application/json", SSE])
@pytest.mark.parametrize("num_ticks", range(30))
async def test_a_handler_that_is_cancelled(content_type: str, num_ticks: int) -> None:
    """Serve cancels the handler of a client that left: at whichever turn of the loop, nothing stays held."""
    parts = await system({"t1": (head("t1", content_type), 0.0, *EVENTS)}).refresh()
    task = asyncio.create_task(Connection().run(api(parts), "2.3"))
    for _ in range(num_ticks):
        await asyncio.sleep(0)
    await cancel(task)
    assert parts.num_leases() == FREE
