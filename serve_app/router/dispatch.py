"""How is a decision carried out, and what if the chosen replica fails before its first byte?"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from serve_app.engine.protocol import Backend
from serve_app.errors import NoReplica, PoolBusy, ReplicaLost
from serve_app.metrics import Metrics
from serve_app.pools.directory import Directory
from serve_app.pools.pool import Lease, Pool
from serve_app.router.filters import healthy
from serve_app.router.policy import Policy
from serve_app.types import Call, Decision, Effort, Head, PoolSnapshot, ReplicaSnapshot, RequestFeatures

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

ABSENT_PATIENCE_S = 1.0
"""How long a request waits for a replica when none is known: covers the first moments of an ingress."""

ABSENCE_CHECK_S = 0.25
"""How often a request that waits for its head looks whether its replica is still there."""


@dataclass
class Answer:
    """An answer that has begun: its head is known, its body is still to be read."""

    decision: Decision
    head: Head
    _lease: Lease

    @property
    def opening(self) -> bytes:
        """The first piece of the body."""
        return self._lease.opening

    def body(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises ReplicaLost in mid-answer; closing it early stops the engine."""
        return self._lease.body()

    def release(self) -> None:
        """Give up the rest of the answer and stop the engine. Safe to call again."""
        self._lease.release()


async def _head(pool: Pool, lease: Lease) -> Head:
    """Wait for the head as long as the replica is there. Raises ReplicaLost, PoolBusy.

    A request that is sent just as its pool's last replica dies would otherwise wait in the handle
    until another one has started.
    """
    waiting = asyncio.ensure_future(lease.head())
    try:
        while not (await asyncio.wait({waiting}, timeout=ABSENCE_CHECK_S))[0]:
            if not pool.has(lease.replica):
                raise ReplicaLost(f"replica {lease.replica} is gone")
        return waiting.result()
    finally:
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait({waiting})


class Router:
    """Decides, leases, and tries the next replica while nothing has been sent to the client."""

    def __init__(
        self,
        directory: Directory,
        policy: Policy,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` must be that of the directory's pools."""
        self._directory = directory
        self._policy = policy
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Keep the view of the pools fresh, for ever."""
        await self._directory.run()

    async def route(self, features: RequestFeatures, call: Call) -> Answer:
        """Return an answer whose head and opening have arrived.

        Raises NoReplica when there is no candidate (left), PoolBusy when the last candidate
        refused for load.
        """
        tried: set[str] = set()
        refusal: PoolBusy | ReplicaLost | None = None
        while True:
            try:
                decision = await self._decide(features, tried)
            except NoReplica as error:
                final = refusal or error
                raise final from final.__cause__
            pool = self._directory.pools[decision.pool]
            lease = pool.acquire(decision.replica, call, features.prompt_tokens)
            try:
                head = await _head(pool, lease)
            except (PoolBusy, ReplicaLost) as error:
                lease.release()
                logger.warning(f"pool {decision.pool}: {error}; trying another replica")
                tried.add(decision.replica)
                refusal = error
                if isinstance(error, ReplicaLost):
                    pool.suspect(decision.replica)
                self._metrics.retries.labels(decision.pool, error.code).inc()
                continue
            except BaseException:
                lease.release()
                raise
            self._metrics.decisions.labels(decision.pool, features.effort, decision.reason).inc()
            return Answer(decision, head, lease)

    async def _decide(self, features: RequestFeatures, tried: set[str]) -> Decision:
        deadline = asyncio.get_running_loop().time() + (0 if tried else ABSENT_PATIENCE_S)
        while True:
            try:
                return self._policy.decide(features, self._directory.snapshots(), self._clock(), tried)
            except NoReplica:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(0.05)

    def num_healthy(self) -> dict[str, int]:
        """Return the number of healthy replicas of each pool."""
        return {pool.name: len(self._healthy(pool)) for pool in self._directory.snapshots()}

    def unready(self) -> list[Effort]:
        """Return the efforts whose own pools have no healthy replica now."""
        pools = self._directory.snapshots()
        return [e for e in Effort if not any(e in p.efforts and self._healthy(p) for p in pools)]

    def _healthy(self, pool: PoolSnapshot) -> list[ReplicaSnapshot]:
        return healthy(pool, self._policy.rules, self._clock())

    async def engine_metrics(self) -> list[tuple[str, str, bytes]]:
        """Return (pool, replica, Prometheus text) of every replica that answers."""
        answers = await self._ask_all(lambda backend: backend.metrics())
        return [(pool.name, replica, text) for pool, replica, text in answers]

    async def expert_loads(self) -> list[dict[str, Any]]:
        """Return the load of experts of every replica that answers, with its pool and that pool's efforts."""
        return [
            {"pool": pool.name, "efforts": sorted(pool.traits.efforts), "replica": replica} | load
            for pool, replica, load in await self._ask_all(lambda backend: backend.experts())
        ]

    async def _ask_all(
        self, ask: Callable[[Backend], Awaitable[Sequence[tuple[str, T]]]]
    ) -> list[tuple[Pool, str, T]]:
        pools = list(self._directory.pools.values())
        found = await asyncio.gather(*(ask(pool.backend) for pool in pools))
        return [(pool, *answer) for pool, answers in zip(pools, found, strict=True) for answer in answers]
