"""What is one Serve replica of a pool? A vLLM server that joins late, reports itself and leaves at once."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import ray
from ray import serve

from serve_app.engine import readiness
from serve_app.engine.draining import is_draining
from serve_app.engine.ingress_queues import IngressQueues
from serve_app.engine.vllm import VllmServer
from serve_app.errors import EngineDead, ReplicaFailed, StartError
from serve_app.types import SCALING_COUNTS, SCALING_MEANS, SCALING_QUEUE, Call, Head, ReplicaReport

logger = logging.getLogger("ray.serve")

WATCH_PERIOD_S = 0.25
NAMING_PATIENCE_S = 0.5
"""Ray says which rank was lost a little later than the others fail for it."""
STATS_LOG_PERIOD_S = 10.0
EXPERTS_PERIOD_S = 10.0


def join_cluster() -> None:
    """Let the engine's processes, which are Ray drivers of their own, place their ranks in this cluster.

    vLLM tells them only where it chooses the start method itself; on CPU they would start another Ray.
    """
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    os.environ["VLLM_HOST_IP"] = ray.util.get_node_ip_address()


class EngineReplica:
    """Hosts one engine group of the pool `pool`.

    Ray Serve calls the constructor, `check_health` and the destructor; pools call `call` and `report`.
    The replica counts as started, and gets traffic, only when the constructor has returned.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits an async constructor
        self, pool: str, model: str, arguments: Mapping[str, Any], num_nodes: int = 1
    ) -> None:
        if num_nodes > 1:
            join_cluster()
        self._id = serve.get_replica_context().replica_id.unique_id
        self._num_ongoing = 0
        self._is_draining = False
        self._queues = IngressQueues()
        logger.info(f"pool {pool}: loading {arguments['model']}")
        self._server = await VllmServer.start(arguments)
        await self._become_ready(model)
        self._server.forget_stats()
        logger.info(f"pool {pool}: decoded a token at each effort, taking traffic")
        self._tasks = [
            asyncio.create_task(self._leave_when_errored()),
            asyncio.create_task(self._server.log_stats(STATS_LOG_PERIOD_S)),
            asyncio.create_task(self._server.watch_experts(EXPERTS_PERIOD_S)),
        ]

    async def _become_ready(self, model: str) -> None:
        """Return when `readiness.check` does; raise StartError likewise, and when the engine dies."""
        check = asyncio.create_task(readiness.check(self._server.call, model))
        while not check.done() and not self._server.errored:
            await asyncio.wait({check}, timeout=WATCH_PERIOD_S)
        await asyncio.wait({check}, timeout=NAMING_PATIENCE_S)
        if not check.done():
            # vLLM tells nobody of some losses (`group.py`): the check would wait for ever.
            check.cancel()
            raise StartError(f"readiness: {self._server.failure}")
        await check

    async def call(self, call: Call) -> AsyncIterator[Head | bytes]:
        """Serve one request: its Head with the body's opening, then the rest of the body.

        Cancelling the call stops the engine's work. The Head names this replica: Serve may have sent
        the call to another one than the policy chose. Raises EngineDead instead of vLLM's answer about
        that, so that the caller can try elsewhere, and ReplicaFailed for whatever vLLM raises: Serve may
        hand the bare exception to the caller, who could not tell it from one of his own.
        """
        self._num_ongoing += 1
        may_tell_of_death = False
        unsent: Head | None = None
        try:
            # Closed here and now, whatever ends this: left to the garbage collector, vLLM would learn late
            # that the client is gone.
            async with aclosing(self._server.call(call)) as items:
                async for item in items:
                    if isinstance(item, Head):
                        unsent = item
                        may_tell_of_death = item.status >= 500 or item.is_event_stream
                        if item.status >= 500 and not self._server.errored:
                            # A request can hear of its engine's death before the engine is marked dead.
                            await asyncio.sleep(WATCH_PERIOD_S)
                        continue
                    if may_tell_of_death:
                        self._refuse_if_dead()
                    yield unsent.signed(self._id, opening=item) if unsent else item
                    unsent = None
            if unsent:
                if may_tell_of_death:
                    self._refuse_if_dead()
                yield unsent.signed(self._id)
        except ReplicaFailed:
            raise
        except Exception as error:
            raise ReplicaFailed(f"{type(error).__name__}: {error}") from error
        finally:
            self._num_ongoing -= 1

    def _refuse_if_dead(self) -> None:
        if self._server.errored:
            raise EngineDead(f"replica {self._id}: {self._server.failure}")

    async def report(self, ingress: str, num_queued: int) -> ReplicaReport:
        """Say what this replica is doing now, to an `ingress` replica where `num_queued` requests wait."""
        now_s = time.monotonic()
        self._queues.note(ingress, num_queued, now_s)
        return replace(self._report(), num_queued_elsewhere=self._queues.total(now_s, without=ingress))

    def _report(self) -> ReplicaReport:
        return self._server.report(self._id, self._num_ongoing, self._is_draining)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Serve what the pool's number of replicas is decided by; Serve asks only where it scales."""
        report = self._report()
        known = {name: getattr(report, name) for name in (*SCALING_MEANS, *SCALING_COUNTS)}
        known[SCALING_QUEUE] = self._queues.total(time.monotonic())
        return {name: float(value) for name, value in known.items() if value is not None}

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take Serve's `user_config`: with `draining: true` routers send this replica nothing new.

        Serve calls it at the start, and for a changed value without a restart. Raises ValueError for
        anything else in it.
        """
        self._is_draining = is_draining(user_config)

    async def metrics(self) -> tuple[str, bytes]:
        """Return this replica's id and vLLM's metrics in Prometheus text form."""
        _, text = await readiness.collect(self._server.call(Call("GET", "/metrics/")))
        return self._id, text

    async def experts(self) -> tuple[str, dict[str, Any] | None]:
        """Return this replica's id and the load of its experts lately, None until it is known."""
        return self._id, self._server.experts()

    async def check_health(self) -> None:
        """Tell Serve of a dead engine (it asks every few seconds; `_leave_when_errored` is quicker)."""
        self._refuse_if_dead()

    async def _leave_when_errored(self) -> None:
        # A replica with a dead engine answers errors at once, and so attracts requests. Exiting ends
        # its streams now and lets Serve start another; waiting for failed health checks takes far longer.
        while not self._server.errored:
            await asyncio.sleep(WATCH_PERIOD_S)
        if not self._server.lost:
            await asyncio.sleep(NAMING_PATIENCE_S)
        logger.error(f"{self._server.failure}: this replica leaves")
        sys.stderr.flush()
        self._server.kill()
        os._exit(1)

    async def __del__(self) -> None:
        """Stop the engine when Serve stops this replica."""
        if server := getattr(self, "_server", None):
            for task in getattr(self, "_tasks", []):
                task.cancel()
            server.close()
