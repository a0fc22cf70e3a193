"""How is a decision carried out, and what if the chosen replica fails before its first byte?"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from opentelemetry.trace import Tracer

from serve_app import tracing
from serve_app.engine.protocol import Backend
from serve_app.errors import NoReplica, Overloaded, PoolBusy, ReplicaLost
from serve_app.metrics import Metrics
from serve_app.pools.directory import Directory
from serve_app.pools.pool import Lease, Pool
from serve_app.router.admission import Admission
from serve_app.router.filters import healthy, reachable, unavailable
from serve_app.router.overview import overview
from serve_app.router.policy import Policy
from serve_app.router.retry_budget import RetryBudget
from serve_app.router.waiting_room import Ticket, WaitingRoom
from serve_app.rules import Targets
from serve_app.types import Call, Decision, Effort, Head, RequestFeatures

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

SERVER_ERROR = 500

MAX_LOST = 2
"""Replicas that one request may lose: one that kills two might kill them all."""

ABSENCE_CHECK_S = 0.25
"""How often a request that waits for its head looks whether its replica is still there."""


REPLICA_STATES = ("healthy", "silent", "broken", "draining", "suspect")
"""What a replica can be for this ingress replica; all but the last are `filters.unavailable`'s."""


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


class Failure(NamedTuple):
    """A replica that failed a request before its first byte."""

    pool: str
    error: PoolBusy | ReplicaLost


def _error(decision: Decision, found: Head | PoolBusy | ReplicaLost) -> PoolBusy | ReplicaLost:
    """Return a head that is no answer as an error."""
    if isinstance(found, Head):
        return ReplicaLost(f"replica {decision.replica} answered with status {found.status}")
    return found


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
        max_queued: Mapping[str, int],
        clock: Callable[[], float] = time.monotonic,
        tracer: Tracer = tracing.NO_TRACER,
    ) -> None:
        """`max_queued`: requests that may wait, by pool. `clock` must be that of the directory's pools."""
        self.clock = clock
        """What deadlines of requests are read on."""
        self._directory = directory
        self._policy = policy
        self._metrics = metrics
        admission = Admission[Ticket](policy, max_queued)
        self._room = WaitingRoom(directory, admission, metrics, clock, tracer)
        self._budget = RetryBudget(policy.rules.admission.retry_share)
        for name, pool in directory.pools.items():
            pool.on_refresh = partial(self._refreshed, name)
            pool.num_queued = partial(len, admission.queues[name])

    async def run(self) -> None:
        """Keep the view of the pools fresh, for ever."""
        await self._directory.run()

    async def route(self, features: RequestFeatures, call: Call) -> Answer:
        """Return an answer whose head and opening have arrived.

        Raises NoReplica when there is no candidate, Overloaded when there is no place in time, and what the
        last replica failed with, PoolBusy or ReplicaLost, when no other one is to be tried.
        """
        since_s = self.clock()
        self._wake(features)
        self._budget.earn()
        failures: dict[str, Failure] = {}
        while True:
            try:
                decision, lease = await self._room.lease(features, call, since_s, failures)
            except (NoReplica, Overloaded) as error:
                final = list(failures.values())[-1].error if failures else error
                raise final from final.__cause__
            found = await self._head(decision, lease)
            if isinstance(found, Head) and found.status < SERVER_ERROR:
                self._answered(decision, failures)
                self._metrics.decisions.labels(decision.pool, features.effort, decision.reason).inc()
                return Answer(decision, found, lease)
            failure = Failure(decision.pool, _error(decision, found))
            if not self._may_try_another(failures | {decision.replica: failure}):
                if isinstance(found, Head):
                    return Answer(decision, found, lease)
                raise found
            lease.release()
            if isinstance(found, Head):
                # It fails at once, so it is the emptiest, and would get the next requests as well.
                self._directory.pools[decision.pool].suspect(decision.replica)
            failures[decision.replica] = failure
            logger.warning(f"pool {decision.pool}: {failure.error}; trying another replica")
            self._metrics.retries.labels(decision.pool, failure.error.code).inc()

    def _wake(self, features: RequestFeatures) -> None:
        """Ask for a replica of every home that sleeps; until it is there the request may go elsewhere."""
        pools = self._directory.snapshots()
        if any(pool.sleeps for pool in pools):
            for home in self._policy.homes(features, pools).home:
                if home.sleeps:
                    self._directory.pools[home.name].backend.wake()

    async def _head(self, decision: Decision, lease: Lease) -> Head | PoolBusy | ReplicaLost:
        """Return the head, or why there is none; the lease is held for a head alone."""
        pool = self._directory.pools[decision.pool]
        try:
            return await _head(pool, lease)
        except (PoolBusy, ReplicaLost) as error:
            tracing.failed(lease.span, error.code)
            lease.release()
            if isinstance(error, ReplicaLost):
                pool.suspect(decision.replica)
            return error
        except BaseException:
            lease.release()
            raise

    def _may_try_another(self, failures: Mapping[str, Failure]) -> bool:
        """Whether a request that has failed so, last at the last one, goes to one more replica."""
        now_s, pools = self.clock(), self._directory.snapshots()
        if not any(reachable(pool, self._policy.rules, now_s, failures) for pool in pools):
            return False
        last = list(failures.values())[-1].pool
        if sum(isinstance(one.error, ReplicaLost) for one in failures.values()) >= MAX_LOST:
            self._metrics.retries_denied.labels(last, "attempts").inc()
            return False
        if not self._budget.spend():
            self._metrics.retries_denied.labels(last, "budget").inc()
            return False
        return True

    def _answered(self, decision: Decision, failures: Mapping[str, Failure]) -> None:
        """Tell the breakers: who failed this request is to blame, now that another one has answered it."""
        self._directory.pools[decision.pool].answered(decision.replica)
        for replica, failure in failures.items():
            lost = isinstance(failure.error, ReplicaLost)
            if lost and self._directory.pools[failure.pool].failed(replica):
                logger.error(f"pool {failure.pool}: replica {replica} fails what others answer; it rests")
                self._metrics.breaker_openings.labels(failure.pool).inc()

    def _refreshed(self, pool: str) -> None:
        self._metrics.breakers_open.labels(pool).set(self._directory.pools[pool].num_broken)
        self._room.look(pool)

    def num_healthy(self) -> dict[str, int]:
        """Return the number of healthy replicas of each pool."""
        rules, now_s = self._policy.rules, self.clock()
        return {pool.name: len(healthy(pool, rules, now_s)) for pool in self._directory.snapshots()}

    def overview(self) -> list[dict[str, Any]]:
        """Return every pool and its replicas as this router sees them now."""
        return overview(self._directory.snapshots(), self._policy.rules, self.clock())

    def unready(self) -> list[Effort]:
        """Return the efforts whose own pools have no replica that a request would get, or wait for."""
        rules, now_s = self._policy.rules, self.clock()
        pools = [p for p in self._directory.snapshots() if p.sleeps or reachable(p, rules, now_s)]
        return [effort for effort in Effort if not any(effort in pool.efforts for pool in pools)]

    def targets(self, effort: Effort) -> Targets:
        """Return what requests of `effort` should see."""
        return self._policy.rules.targets.get(effort, Targets())

    def show_state(self) -> None:
        """Bring the gauges up to date: what this ingress replica knows of the pools now."""
        metrics, rules, now_s = self._metrics, self._policy.rules, self.clock()
        for pool in self._directory.pools.values():
            states = Counter(unavailable(r, rules, now_s) or "healthy" for r in pool.snapshot().replicas)
            states["suspect"] = pool.num_suspects
            for state in REPLICA_STATES:
                metrics.replicas.labels(pool.name, state).set(states[state])
            metrics.leases.labels(pool.name).set(pool.num_leases)
        unready = self.unready()
        for effort in Effort:
            metrics.ready.labels(effort).set(effort not in unready)

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
