"""How do pools reach their replicas through a Ray Serve handle?"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any

import ray
from grpc.aio import AioRpcError
from ray.exceptions import RayError, RayTaskError
from ray.serve._private.common import ReplicaID
from ray.serve._private.constants import SERVE_NAMESPACE
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from serve_app.errors import PoolBusy, ReplicaFailed, ReplicaLost
from serve_app.types import Call, Head, ReplicaReport

logger = logging.getLogger("ray.serve")

REPORT_TIMEOUT_S = 1.0
METRICS_TIMEOUT_S = 8.0
"""A busy engine takes its time over a page of metrics; Prometheus gives up after 10 s by default."""


async def ask_all(
    handle: "DeploymentHandle[object]", method: str, timeout_s: float, *arguments: object
) -> list[object]:
    """Return the answer of each replica behind a handle, or the exception instead of it.

    The public `results_async` has one timeout for all: there, one replica that hangs would hide
    every other one. So each result is awaited by itself.
    """
    try:
        results = await handle.broadcast(method, *arguments)._fetch_replica_results_async()
    except DeploymentUnavailableError:
        return []
    answers = (asyncio.wait_for(result.get_async(), timeout_s) for result in results)
    return list(await asyncio.gather(*answers, return_exceptions=True))


class HandleBackend:
    """The replicas of one engine deployment, as an `engine.protocol.Backend`."""

    def __init__(self, handle: "DeploymentHandle[object]", ingress: str) -> None:
        """`ingress`: the id of the ingress replica that this is part of."""
        self._handle = handle
        self._ingress = ingress
        # Cloudpickle, which Serve takes otherwise, makes a Python object to write each item: it is for code.
        self._streaming = handle.options(method_name="call", stream=True, response_serialization="pickle")
        self._waking: asyncio.Task[None] | None = None

    async def reports(self, num_queued: int) -> Sequence[ReplicaReport | None]:
        """Ask every running replica: None for one silent for REPORT_TIMEOUT_S, nothing for a dead one."""
        answers = await ask_all(self._handle, "report", REPORT_TIMEOUT_S, self._ingress, num_queued)
        known = (a if isinstance(a, ReplicaReport) else None for a in answers if not isinstance(a, RayError))
        return list(known)

    async def finishing(self, replicas: Collection[str]) -> Collection[str]:
        """Return those whose actor lives: Serve sends them nothing more, and lets them end what they have."""
        alive = await asyncio.gather(*map(self._is_alive, replicas))
        return [name for name, lives in zip(replicas, alive, strict=True) if lives]

    async def _is_alive(self, replica: str) -> bool:
        actor = ReplicaID(replica, self._handle.deployment_id).to_full_id_str()
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                await asyncio.to_thread(ray.get_actor, actor, SERVE_NAMESPACE)
        except ValueError:
            return False
        except TimeoutError:
            pass  # nobody says that it is dead
        return True

    def wake(self) -> None:
        """Leave one call in the handle's queue until a replica is there: Serve starts one for it."""
        if self._waking is None or self._waking.done():
            # Not in the context of a request: Serve would cancel the call with it.
            self._waking = asyncio.create_task(self._wake(), context=Context())

    async def _wake(self) -> None:
        try:
            await self._handle.options(method_name="check_health").remote()
        except (RayError, RayServeException, ReplicaFailed, AioRpcError) as error:
            logger.warning(f"could not wake a pool: {error}")

    async def metrics(self) -> Sequence[tuple[str, bytes]]:
        """Return (replica, Prometheus text) of every replica that answers within METRICS_TIMEOUT_S."""
        return [m for m in await ask_all(self._handle, "metrics", METRICS_TIMEOUT_S) if isinstance(m, tuple)]

    async def experts(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return (replica, load of experts) of every replica that answers within METRICS_TIMEOUT_S."""
        answers = await ask_all(self._handle, "experts", METRICS_TIMEOUT_S)
        return [a for a in answers if isinstance(a, tuple) and a[1] is not None]

    def open(self, replica: str, call: Call) -> "HandleStream":
        """Send `call` to `replica`; see `PinnedReplicaRouter` for what happens if it is full or gone."""
        return HandleStream(self._streaming.options(session_id=replica).remote(call), replica)


class HandleStream:
    """One answer over a handle, as an `engine.protocol.ReplicaStream`."""

    def __init__(self, response: "AsyncIterator[Head | bytes]", replica: str) -> None:
        self._response = response
        self._replica = replica

    def __aiter__(self) -> "HandleStream":
        """Return itself."""
        return self

    async def __anext__(self) -> Head | bytes:
        """Return the next item; errors of Ray and of the replica come out as ReplicaLost or PoolBusy.

        Calls go through Ray's actors or, as RAY_SERVE_THROUGHPUT_OPTIMIZED has it, over gRPC. There the
        replica's exceptions arrive as they were raised, and gRPC has its own, beside those of Ray.
        """
        try:
            return await self._response.__anext__()
        except BackPressureError as error:
            raise PoolBusy(f"the pool's queue is full: {error}") from error
        except RayTaskError as error:
            # The replica lives, and its server raised: not a fault of the request's shape, since
            # vLLM answers those itself.
            raise ReplicaLost(f"replica {self._replica} failed: {error.cause}") from error
        except ReplicaFailed as error:
            raise ReplicaLost(f"replica {self._replica} failed: {error}") from error
        except AioRpcError as error:
            raise ReplicaLost(f"replica {self._replica} was lost ({error.code().name})") from error
        except (RayError, RayServeException) as error:
            raise ReplicaLost(f"replica {self._replica} was lost ({type(error).__name__})") from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # Nobody cancels this task: the replica's own one was cancelled, and Serve passes that on.
            raise ReplicaLost(f"replica {self._replica} gave up the call") from error

    def cancel(self) -> None:
        """Cancel the call on the replica; where Serve refused it, or lost it, there is nothing to cancel."""
        # Of a call that was never sent, Serve raises here once more what it raised for the answer.
        with suppress(Exception):
            self._response.cancel()  # type: ignore[attr-defined]
