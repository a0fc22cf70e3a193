"""The scripted replicas that the other tests trust."""

import asyncio

import pytest

from serve_app.engine.protocol import Backend
from serve_app.engine.scripted import OK, ScriptedBackend, ScriptedStream
from serve_app.errors import ReplicaLost
from serve_app.types import Head, ReplicaReport
from tests.serve_app.samples import CALL


async def test_steps() -> None:
    """Heads and bytes are yielded, floats slept, exceptions raised; then the stream ends."""
    stream = ScriptedStream([Head(200), 0.02, b"a", ReplicaLost("gone")])
    assert await anext(stream) == Head(200)
    began_s = asyncio.get_running_loop().time()
    assert await anext(stream) == b"a"
    assert asyncio.get_running_loop().time() - began_s >= 0.02
    with pytest.raises(ReplicaLost):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_backend() -> None:
    """A backend reports what it was given, and keeps each call and its stream."""
    scripted = ScriptedBackend({"a": OK, "b": OK}, num_ongoing={"b": 2}, texts={"a": b"x 1"}, loads={"a": {}})
    backend: Backend = scripted
    assert await backend.reports(0) == [ReplicaReport("a", 0), ReplicaReport("b", 2)]
    assert await backend.metrics() == [("a", b"x 1")]
    assert await backend.experts() == [("a", {})]
    stream = backend.open("b", CALL)
    stream.cancel()
    assert scripted.calls == [("b", CALL)]
    assert scripted.streams[0].num_cancels == 1
