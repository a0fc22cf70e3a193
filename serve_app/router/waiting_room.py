"""How does a request get its lease: at once, or when its turn has come?"""

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial

from opentelemetry.trace import Tracer

from serve_app import tracing
from serve_app.errors import ApiError, NoReplica, Overloaded
from serve_app.metrics import Metrics
from serve_app.pools.directory import Directory
from serve_app.pools.pool import Lease
from serve_app.router.admission import ABSENT_PATIENCE_S, Admission
from serve_app.router.admission_queue import Waiting
from serve_app.types import Call, Decision, Effort, RequestFeatures

ABSENCE_RECHECK_S = 0.05

Leased = tuple[Decision, Lease]


@dataclass(frozen=True)
class Ticket:
    """What a request needs to be sent in its turn, by whoever gives up a place."""

    call: Call
    asked_s: float
    """When a place was asked for: later than the request came, if a replica has failed it."""
    leased: "asyncio.Future[Leased]"
    context: Context
    """Its own: Ray Serve cancels a call with the request that it was made in; and its trace."""


class WaitingRoom:
    """Leases for requests, in the order of `Admission`.

    Places come free when a lease of this ingress replica ends, and when reports tell of others: `look`.
    """

    def __init__(
        self,
        directory: Directory,
        admission: Admission[Ticket],
        metrics: Metrics,
        clock: Callable[[], float],
        tracer: Tracer,
    ) -> None:
        self._directory = directory
        self._admission = admission
        self._metrics = metrics
        self._clock = clock
        self._tracer = tracer
        self._looks_soon: set[str] = set()
        """Pools that `look` is about to be called for."""

    async def lease(
        self, features: RequestFeatures, call: Call, since_s: float, tried: Collection[str] = ()
    ) -> Leased:
        """Return where the request goes, and its lease. `since_s`: when it came, `tried`: who failed it.

        Raises InvalidRequest, NoReplica, and Overloaded when there is no place for it, or none in time.
        """
        with tracing.part(self._tracer, "admission") as span:
            decision, lease = await self._lease(features, call, since_s, tried)
            span.set_attributes(tracing.of_decision(decision))
        return decision, lease

    async def _lease(
        self, features: RequestFeatures, call: Call, since_s: float, tried: Collection[str]
    ) -> Leased:
        loop = asyncio.get_running_loop()
        ticket = Ticket(call, self._clock(), loop.create_future(), copy_context())
        waiting = Waiting(features, since_s, ticket, tried)
        decision = await self._offered(waiting)
        if not decision.waits:
            return decision, self._acquired(decision, waiting)
        self.look(decision.pool)
        leased = waiting.ticket.leased
        try:
            return await leased
        except asyncio.CancelledError:
            if leased.done() and not leased.cancelled() and leased.exception() is None:
                leased.result()[1].release()
            self._admission.withdraw(waiting)
            self._show(decision.pool)
            raise

    def look(self, pool: str) -> None:
        """Let those go on whose turn it is, as long as there are places."""
        self._looks_soon.discard(pool)
        while turn := self._admission.next_turn(pool, self._directory.snapshots(), self._clock()):
            waiting, outcome = turn
            if waiting.ticket.leased.done():
                continue  # its client has just left
            if isinstance(outcome, ApiError):
                self._refuse(waiting, outcome)
                continue
            try:
                lease = waiting.ticket.context.run(self._acquired, outcome, waiting)
            except Exception as error:
                # A fault of that request's, and not of the one whose end made room for it.
                waiting.ticket.leased.set_exception(error)
            else:
                waited_s = self._clock() - waiting.ticket.asked_s
                self._metrics.queue_time.labels(pool, waiting.features.effort).observe(waited_s)
                waiting.ticket.leased.set_result((outcome, lease))
        self._show(pool)

    async def _offered(self, waiting: Waiting[Ticket]) -> Decision:
        """Decide, or let it wait. A request that finds no replica at all looks again for a moment."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + (0 if waiting.tried else ABSENT_PATIENCE_S)
        while True:
            try:
                decision, left = self._admission.offer(waiting, self._directory.snapshots(), self._clock())
            except NoReplica:
                if loop.time() >= until_s:
                    raise
                await asyncio.sleep(ABSENCE_RECHECK_S)
            except Overloaded as error:
                self._count(waiting, error)
                raise
            else:
                if left:
                    assert isinstance(left.outcome, ApiError)
                    self._refuse(left.waiting, left.outcome)
                return decision

    def _acquired(self, decision: Decision, waiting: Waiting[Ticket]) -> Lease:
        features = waiting.features
        on_release = partial(self._ended, decision.pool, asyncio.get_running_loop())
        pool = self._directory.pools[decision.pool]
        span = tracing.attempt(self._tracer, decision, pool.draft_tokens(decision.replica))
        return pool.acquire(
            decision.replica,
            tracing.carried(waiting.ticket.call, span),
            features.prompt_tokens,
            on_release if features.generates else lambda: None,
            span,
        )

    def _ended(self, pool: str, loop: asyncio.AbstractEventLoop) -> None:
        """Note a place that has come free; who gets it is decided when the one that had it is done."""
        self._admission.ended(pool, self._clock())
        if pool not in self._looks_soon and len(self._admission.queues[pool]):
            self._looks_soon.add(pool)
            loop.call_soon(self.look, pool)

    def _refuse(self, waiting: Waiting[Ticket], error: ApiError) -> None:
        if not waiting.ticket.leased.done():
            waiting.ticket.leased.set_exception(error)
            self._count(waiting, error)

    def _count(self, waiting: Waiting[Ticket], error: ApiError) -> None:
        if isinstance(error, Overloaded):
            self._metrics.sheds.labels(error.pool, waiting.features.effort, error.code).inc()

    def _show(self, pool: str) -> None:
        for effort in Effort:
            self._metrics.queue_depth.labels(pool, effort).set(self._admission.queues[pool].num(effort))
