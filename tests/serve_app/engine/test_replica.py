"""One replica around a server: what it signs, counts and reports, and what it says of a dead engine."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from unittest.mock import Mock

import pytest

from serve_app.engine.ingress_queues import IngressQueues
from serve_app.engine.replica import EngineReplica
from serve_app.engine.scripted import ScriptedStream, Step
from serve_app.errors import EngineDead, ReplicaFailed, StartError
from serve_app.types import Call, Head, ReplicaReport
from tests.serve_app.samples import CALL


class Server:
    """A server that replays one script for every call."""

    def __init__(self, *script: Step, errored: bool = False) -> None:
        self._script = script
        self.errored = errored
        self.lost = "Worker_TP1"
        self.num_killed = 0
        self.calls: list[Call] = []
        self.num_closed = 0

    def report(self, replica: str, num_ongoing: int, is_draining: bool) -> ReplicaReport:
        """Say what it was told."""
        return ReplicaReport(replica, num_ongoing, is_draining=is_draining)

    @property
    def failure(self) -> str:
        """Say what it lost."""
        return f"the engine has lost {self.lost}"

    def kill(self) -> None:
        """Count."""
        self.num_killed += 1

    def experts(self) -> dict[str, Any]:
        """Say that one expert of one layer was chosen."""
        return {"counts": [[1]]}

    async def call(self, call: Call) -> AsyncGenerator[Head | bytes, None]:
        """Replay the script."""
        self.calls.append(call)
        try:
            async for item in ScriptedStream(self._script):
                yield item
        finally:
            self.num_closed += 1


class Replica(EngineReplica):
    """A replica with a server that is there already, outside of Ray Serve."""

    def __init__(self, server: Any) -> None:
        self._id = "r1"
        self._num_ongoing = 0
        self._is_draining = False
        self._queues = IngressQueues()
        self._server = server

    def __del__(self) -> None:  # type: ignore[override]  # Serve awaits it; here nobody would
        """Leave the server alone."""


async def test_an_answer_is_signed_and_counted() -> None:
    """The head names the replica and brings the opening; the request is ongoing until its last byte."""
    replica = Replica(Server(Head(200), b"a", b"b"))
    stream = replica.call(CALL)
    assert await anext(stream) == Head(200).signed("r1", b"a")
    assert await replica.report("i1", 0) == ReplicaReport("r1", 1)
    assert [item async for item in stream] == [b"b"]
    assert await replica.report("i1", 0) == ReplicaReport("r1", 0)


async def test_an_answer_given_up_is_not_ongoing() -> None:
    """A request that is closed early, or fails, is no longer counted, and its server knows at once."""
    server = Server(Head(200), b"a", ZeroDivisionError("in vLLM"))
    replica = Replica(server)
    stream: Any = replica.call(CALL)
    await anext(stream)
    await stream.aclose()
    assert server.num_closed == 1
    with pytest.raises(ReplicaFailed, match=r"^ZeroDivisionError: in vLLM$") as raised:
        [item async for item in replica.call(CALL)]
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert await replica.report("i1", 0) == ReplicaReport("r1", 0)


@pytest.mark.parametrize(
    ("status", "errored", "is_dead"),
    [(500, True, True), (503, True, True), (500, False, False), (400, True, False), (200, True, False)],
)
async def test_a_dead_engine_gives_no_answer(status: int, errored: bool, is_dead: bool) -> None:
    """The server's own 5xx about a dead engine becomes an error, so that another replica is tried."""
    stream = Replica(Server(Head(status), errored=errored)).call(CALL)
    if is_dead:
        with pytest.raises(EngineDead, match="replica r1: the engine has lost Worker_TP1"):
            await anext(stream)
    else:
        assert await anext(stream) == Head(status).signed("r1")


@pytest.mark.parametrize(
    ("kind", "is_dead"), [(b"text/event-stream; charset=utf-8", True), (b"application/json", False)]
)
async def test_an_engine_that_dies_in_a_stream(kind: bytes, is_dead: bool) -> None:
    """A stream breaks off when its engine has died; a whole answer that is there already is still good."""
    server = Server(Head(200, ((b"content-type", kind),)), b"a", b"b")
    stream = Replica(server).call(CALL)
    assert isinstance(head := await anext(stream), Head)
    assert head.opening == b"a"
    server.errored = True
    if is_dead:
        with pytest.raises(EngineDead):
            await anext(stream)
    else:
        assert await anext(stream) == b"b"


async def test_a_replica_leaves_with_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what was lost, if that is known a moment later, ends what is left of the group, and goes."""

    class LeftError(Exception):
        pass

    said: list[str] = []
    monkeypatch.setattr("serve_app.engine.replica.logger.error", said.append)
    monkeypatch.setattr("os._exit", Mock(side_effect=LeftError))
    server = Server(errored=True)
    server.lost = ""
    asyncio.get_running_loop().call_later(0.05, setattr, server, "lost", "rank 1")
    with pytest.raises(LeftError):
        await Replica(server)._leave_when_errored()
    assert said == ["the engine has lost rank 1: this replica leaves"]
    assert server.num_killed == 1


async def test_what_serve_scales_by() -> None:
    """Serve gets numbers only: what was measured, nothing for what was not, and what all ingresses said."""
    replica = Replica(Server())
    nothing = {"prefill_tokens": 0.0, "draft_tokens": 0.0, "num_queued": 0.0}
    assert await replica.record_autoscaling_stats() == nothing
    for ingress, num_queued in (("i1", 9), ("i1", 3), ("i2", 1)):
        await replica.report(ingress, num_queued)
    assert await replica.record_autoscaling_stats() == nothing | {"num_queued": 4.0}


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (Server(1000.0, errored=True), "readiness: the engine has lost Worker_TP1"),
        (
            Server(Head(500), b"no memory", errored=True),
            "readiness: effort none, whole: answered 500, not 200: no memory",
        ),
    ],
    ids=["it says nothing", "it says why"],
)
async def test_an_engine_that_dies_before_it_is_ready(server: Server, problem: str) -> None:
    """The replica fails to start, so that Serve, which waits for a start without end, makes another."""
    async with asyncio.timeout(10):
        with pytest.raises(StartError, match=f"^{problem}$"):
            await Replica(server)._become_ready("m")


async def test_draining() -> None:
    """Serve's user_config says whether the replica drains, and may say it again."""
    replica = Replica(Server())
    for is_draining in (True, False):
        await replica.reconfigure({"draining": is_draining})
        assert await replica.report("i1", 0) == ReplicaReport("r1", is_draining=is_draining)


@pytest.mark.parametrize("given", [{"draining": 1}, {"drain": True}, {"draining": True, "x": 1}, {}])
async def test_another_user_config_is_refused(given: dict[str, Any]) -> None:
    """Anything but draining: true or false is named."""
    with pytest.raises(ValueError, match="user_config may have draining: true or false, not"):
        await Replica(Server()).reconfigure(given)


async def test_experts() -> None:
    """The load of experts is the server's, under the replica's id."""
    assert await Replica(Server()).experts() == ("r1", {"counts": [[1]]})


async def test_metrics_and_health() -> None:
    """The metrics page is the server's, under the replica's id; health is whether the engine lives."""
    server = Server(Head(200), b"vllm:x ", b"1\n")
    replica = Replica(server)
    assert await replica.metrics() == ("r1", b"vllm:x 1\n")
    assert server.calls == [Call("GET", "/metrics/")]

    await replica.check_health()
    server.errored = True
    with pytest.raises(EngineDead):
        await replica.check_health()
