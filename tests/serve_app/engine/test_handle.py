"""Replicas over a Ray Serve handle: whose answer counts, and what Ray's errors become."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

import pytest
import ray
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError
from ray.serve._private.common import DeploymentID, RequestMetadata
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentResponseGenerator

from serve_app.engine import handle
from serve_app.engine.handle import HandleBackend, HandleStream
from serve_app.errors import ApiError, EngineDead, PoolBusy, ReplicaFailed, ReplicaLost
from serve_app.types import Call, Head, ReplicaReport
from tests.serve_app.samples import CALL


class Response:
    """A response generator of a handle: yields what it is given, raises what is an exception."""

    def __init__(self, *items: Head | bytes | BaseException) -> None:
        self._items = iter(items)
        self.num_cancels = 0

    def __aiter__(self) -> AsyncIterator[Head | bytes]:
        """Return itself."""
        return self

    async def __anext__(self) -> Head | bytes:
        """Return or raise the next item."""
        item = next(self._items, None)
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        return item

    def cancel(self) -> None:
        """Count the cancellation."""
        self.num_cancels += 1


async def test_items_pass_through() -> None:
    """Head and bytes come out as the replica sent them."""
    stream = HandleStream(Response(Head(200), b"a"), "r1")
    assert [item async for item in stream] == [Head(200), b"a"]


TASK_ERROR = RayTaskError("call", "a long traceback", ZeroDivisionError("in the engine"))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            BackPressureError(num_queued_requests=5, max_queued_requests=5),
            PoolBusy,
            "the pool's queue is full: ",
        ),
        (TASK_ERROR, ReplicaLost, "replica r1 failed: in the engine"),
        (TASK_ERROR.as_instanceof_cause(), ReplicaLost, "replica r1 failed: in the engine"),
        (ReplicaFailed("KeyError: 'x'"), ReplicaLost, "replica r1 failed: KeyError: 'x'"),
        (EngineDead("the engine has errored"), ReplicaLost, "replica r1 failed: the engine has errored"),
        (ActorDiedError(), ReplicaLost, "replica r1 was lost (ActorDiedError)"),
        (ActorUnavailableError("gone", None), ReplicaLost, "replica r1 was lost (ActorUnavailableError)"),
        (
            AioRpcError(StatusCode.RESOURCE_EXHAUSTED, Metadata(), Metadata()),
            ReplicaLost,
            "replica r1 was lost (RESOURCE_EXHAUSTED)",
        ),
        (asyncio.CancelledError(), ReplicaLost, "replica r1 gave up the call"),
        (RayError("x"), ReplicaLost, "replica r1 was lost (RayError)"),
        (
            DeploymentUnavailableError(None),
            ReplicaLost,
            "replica r1 was lost (DeploymentUnavailableError)",
        ),
        (RayServeException("x"), ReplicaLost, "replica r1 was lost (RayServeException)"),
    ],
)
async def test_rays_errors(error: BaseException, kind: type[ApiError], message: str) -> None:
    """A full queue is PoolBusy, everything else a lost replica; the cause is kept."""
    with pytest.raises(kind) as raised:
        await anext(HandleStream(Response(error), "r1"))
    assert raised.value.message.startswith(message)
    assert raised.value.__cause__ is error


async def test_a_cancelled_caller_stays_cancelled() -> None:
    """Whoever waits for an item and is cancelled is told that, and not that the replica is lost."""

    class Silent(Response):
        async def __anext__(self) -> Head | bytes:
            await asyncio.Event().wait()
            raise AssertionError

    waiting = asyncio.create_task(HandleStream(Silent(), "r1").__anext__())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_other_errors_are_not_hidden() -> None:
    """An error that is not Ray's is a fault of ours, and comes out as it is."""
    with pytest.raises(ZeroDivisionError):
        await anext(HandleStream(Response(ZeroDivisionError()), "r1"))


async def test_cancel_reaches_the_call() -> None:
    """Cancelling the stream cancels the call on the replica."""
    response = Response(Head(200))
    HandleStream(response, "r1").cancel()
    assert response.num_cancels == 1


async def test_cancelling_what_serve_never_sent() -> None:
    """A call that Serve refused is given up without another word: its lease is still to be freed."""
    refused: Future[Any] = Future()
    refused.set_exception(BackPressureError(num_queued_requests=5, max_queued_requests=5))
    call = RequestMetadata(request_id="r", internal_request_id="i")
    stream = HandleStream(DeploymentResponseGenerator(refused, call), "r1")
    with pytest.raises(PoolBusy):
        await anext(stream)
    stream.cancel()


class Result:
    """One replica's answer to a broadcast."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self._answer = answer

    async def get_async(self) -> object:
        """Answer, fail, or hang where the answer is None."""
        answer = self._answer()
        if answer is None:
            await asyncio.Event().wait()
        return answer


class Handle:
    """What `HandleBackend` uses of a deployment handle."""

    def __init__(self, *answers: Callable[[], object], unavailable: bool = False) -> None:
        self._results = [Result(answer) for answer in answers]
        self._unavailable = unavailable
        self.chosen: list[dict[str, Any]] = []
        self.asked: list[object] = []

    def options(self, **options: Any) -> "Handle":
        """Note the options."""
        self.chosen.append(options)
        return self

    def broadcast(self, *asked: object) -> "Handle":
        """Note method and arguments."""
        self.asked += asked
        return self

    async def _fetch_replica_results_async(self) -> list[Result]:
        if self._unavailable:
            raise DeploymentUnavailableError(None)
        return self._results

    def remote(self, call: Call) -> Response:
        """Note the call, and answer it."""
        self.asked.append(call)
        return Response(Head(200))


def fail() -> object:
    """Fail as a replica that has died."""
    raise ActorDiedError


async def test_one_bad_replica_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that has died is left out; one that hangs for REPORT_TIMEOUT_S seconds is told apart."""
    monkeypatch.setattr(handle, "REPORT_TIMEOUT_S", 0.05)
    fake: Any = Handle(lambda: ReplicaReport("a", 1), fail, lambda: None, lambda: ReplicaReport("d", 2))
    assert await HandleBackend(fake, "i1").reports(3) == [
        ReplicaReport("a", 1),
        None,
        ReplicaReport("d", 2),
    ]
    assert fake.asked == ["report", "i1", 3]


async def test_those_that_serve_lets_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica without a report finishes its calls as long as its actor lives, or nobody says otherwise."""

    def look_up(name: str, namespace: str) -> None:
        asked.append((name, namespace))
        if name.endswith("dead"):
            raise ValueError("Failed to look up actor")
        if name.endswith("slow"):
            time.sleep(0.2)

    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(ray, "get_actor", look_up)
    monkeypatch.setattr(handle, "REPORT_TIMEOUT_S", 0.05)
    fake: Any = Handle()
    fake.deployment_id = DeploymentID("latency", "venturi")
    assert await HandleBackend(fake, "i1").finishing(["a", "dead", "slow"]) == ["a", "slow"]
    assert ("SERVE_REPLICA::venturi#latency#a", "serve") in asked


async def test_metrics_of_those_that_answer() -> None:
    """Each replica's text comes with its id."""
    fake: Any = Handle(fail, lambda: ("b", b"text"))
    assert await HandleBackend(fake, "i1").metrics() == [("b", b"text")]


async def test_experts_of_those_that_know() -> None:
    """A replica that has not read its load twice is left out, and so is one that has died."""
    fake: Any = Handle(fail, lambda: ("b", None), lambda: ("c", {"counts": [[1]]}))
    assert await HandleBackend(fake, "i1").experts() == [("c", {"counts": [[1]]})]
    assert fake.asked == ["experts"]


async def test_a_deployment_without_replicas() -> None:
    """A deployment that failed to start has no reports, and is not an error."""
    fake: Any = Handle(unavailable=True)
    assert await HandleBackend(fake, "i1").reports(3) == []


async def test_open_pins_the_replica() -> None:
    """A call is streamed, and names its replica to the handle."""
    fake: Any = Handle()
    stream = HandleBackend(fake, "i1").open("r1", CALL)
    assert [item async for item in stream] == [Head(200)]
    streaming = {"method_name": "call", "stream": True, "response_serialization": "pickle"}
    assert fake.chosen == [streaming, {"session_id": "r1"}]
    assert fake.asked == [CALL]


class Sleeping:
    """A handle of a deployment without replicas: a call waits in it until it is `answered`."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[None]] = []

    def options(self, **_: Any) -> "Sleeping":
        """Return itself."""
        return self

    def remote(self) -> "asyncio.Future[None]":
        """Let the call wait."""
        assert REQUEST.get() is None, "Serve would cancel it with the request that it was made in"
        self.calls.append(asyncio.get_running_loop().create_future())
        return self.calls[-1]

    async def answered(self, error: Exception | None = None) -> None:
        """Answer or fail the last call."""
        if error:
            self.calls[-1].set_exception(error)
        else:
            self.calls[-1].set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


async def test_one_call_wakes_a_deployment() -> None:
    """However many ask, one call at a time waits for a replica, and belongs to none of their requests."""
    REQUEST.set("of a client")
    fake: Any = Sleeping()
    backend = HandleBackend(fake, "i1")
    for _ in range(3):
        backend.wake()
        await asyncio.sleep(0)
    assert len(fake.calls) == 1
    await fake.answered()
    backend.wake()
    await asyncio.sleep(0)
    assert len(fake.calls) == 2
    await fake.answered(DeploymentUnavailableError(None))
    backend.wake()
    await asyncio.sleep(0)
    assert len(fake.calls) == 3, "one that failed is not the last"
    await fake.answered()
