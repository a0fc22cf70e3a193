"""Does a request go to a replica now, or wait for a place, or is it refused?

The policy says where a request goes, and whether there is a place. One that there is none for, or that others
wait before, joins the queue of its pool (`admission_queue.py`), and is decided about anew when it is first
and a place may have come free: it may go to another pool by then. Nothing is sent here: whoever calls sends
the request at once, so that the next decision sees a place less.

No clock and no I/O: the ingress (`waiting_room.py`) and the simulator run the same code.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from serve_app.errors import (
    ApiError,
    DeadlineUnreachable,
    Displaced,
    FloorKept,
    NoReplica,
    Overloaded,
    QueueFull,
)
from serve_app.router.admission_queue import AdmissionQueue, Waiting
from serve_app.router.drain_rate import DrainRate
from serve_app.router.policy import Policy
from serve_app.types import Decision, PoolSnapshot, RequestFeatures

T = TypeVar("T")

ABSENT_PATIENCE_S = 1.0
"""How long a request waits where no replica is known: covers a moment without reports."""


class Turn(NamedTuple, Generic[T]):
    """A request that waits no longer: it goes where it was decided, or is refused."""

    waiting: Waiting[T]
    outcome: Decision | ApiError


class Admission(Generic[T]):
    """The queues of all pools, and the policy; `max_queued`: how many may wait, by pool."""

    def __init__(self, policy: Policy, max_queued: Mapping[str, int]) -> None:
        self.policy = policy
        rules = policy.rules.admission
        self.queues = {name: AdmissionQueue[T](rules, number) for name, number in max_queued.items()}
        self._drains = {name: DrainRate() for name in max_queued}
        self._absent_since_s: dict[str, float] = {}
        """By pool, since when its first request has found no replica."""

    def ended(self, pool: str, now_s: float) -> None:
        """Note that a request has ended in the pool: its place is free."""
        self._drains[pool].note(now_s)

    def offer(
        self, waiting: Waiting[T], pools: Collection[PoolSnapshot], now_s: float
    ) -> tuple[Decision, Turn[T] | None]:
        """Return where a request goes, or, if the decision says that it `waits`, where it waits from now on.

        With it comes who had to leave a full queue for it. Raises as `Policy.decide` does, and QueueFull.
        """
        features = waiting.features
        ahead = self._ahead(features, pools, now_s)
        try:
            decision = self.policy.decide(features, pools, now_s, waiting.tried, ahead)
        except Overloaded as error:
            raise self._timed(error, now_s) from None
        queue = self.queues[decision.pool]
        if not decision.waits and not (len(queue) and features.generates):
            return decision, None
        dropped = queue.add(waiting)
        full = f"{queue.max_num} requests wait for pool {decision.pool!r}, and no more may"
        if dropped is waiting:
            raise self._timed(QueueFull(full, pool=decision.pool), now_s)
        turn = None
        if dropped:
            left = Displaced(f"{full}; one that is more important has come", pool=decision.pool)
            turn = Turn(dropped, self._timed(left, now_s))
        return replace(decision, waits=True), turn

    def next_turn(self, pool: str, pools: Collection[PoolSnapshot], now_s: float) -> Turn[T] | None:
        """Take the next request out of a pool's queue, or return None if all go on waiting.

        Call it when a place may have come free, and again until it returns None.
        """
        queue = self.queues[pool]
        if overdue := queue.overdue(now_s):
            queue.remove(overdue[0])
            waited_s = now_s - overdue[0].since_s
            error = DeadlineUnreachable(
                f"it has waited {waited_s:.1f} s for a place in pool {pool!r}, as long as its client waits",
                pool=pool,
            )
            return Turn(overdue[0], self._timed(error, now_s))
        passed: list[Waiting[T]] = []
        while first := queue.first(passed):
            try:
                decision = self.policy.decide(first.features, pools, now_s, first.tried)
            except ApiError as error:
                if self._is_patient(pool, first, error, now_s):
                    return None
                queue.served(first)
                return Turn(first, self._timed(error, now_s) if isinstance(error, Overloaded) else error)
            self._absent_since_s.pop(pool, None)
            if not decision.waits:
                queue.served(first)
                return Turn(first, decision)
            if not first.tried:
                return None
            passed.append(first)  # the replica that is free may be one that failed it, and good for others
        return None

    def withdraw(self, waiting: Waiting[T]) -> None:
        """Forget a request whose client has left, wherever it waits."""
        for queue in self.queues.values():
            queue.remove(waiting)

    def _ahead(
        self, features: RequestFeatures, pools: Collection[PoolSnapshot], now_s: float
    ) -> dict[str, int]:
        """Return by pool who gets a place before the request: of those elsewhere, all are taken to."""
        ahead = {}
        for pool in pools:
            queue = self.queues[pool.name]
            here = queue.num_ahead(features, now_s) if len(queue) else 0
            if num := here + pool.num_queued_elsewhere:
                ahead[pool.name] = num
        return ahead

    def retry_after_s(self, pool: str, now_s: float) -> int:
        """Return in how many seconds who waits for the pool now will have had a place, by its drain rate."""
        return self._drains[pool].retry_after_s(len(self.queues[pool]), now_s)

    def _timed(self, error: Overloaded, now_s: float) -> Overloaded:
        error.come_back_in(self.retry_after_s(error.pool, now_s))
        return error

    def _is_patient(self, pool: str, first: Waiting[T], error: ApiError, now_s: float) -> bool:
        """Whether a request that finds no replica waits on: it may be one silent moment of the only one."""
        if first.tried or not isinstance(error, NoReplica | FloorKept):
            return False
        return now_s - self._absent_since_s.setdefault(pool, now_s) < ABSENT_PATIENCE_S
