"""How many replicas does a pool need? As few as keep, by what is predicted, the targets of its efforts.

A number is tried by dividing among so many replicas what the pool has to do, and predicting what one more
request would see (`prediction.py`). Waiting begins all at once, when the last place is taken, and a replica
takes minutes to start: so margins are in load. A pool grows when it would miss a target if it had a margin
more to do than now. It gets, and shrinks to, as many replicas as keep all targets with two margins more.

What waits at the ingress is to be served within DRAIN_S. By Little's law that takes

    num_queued * stay_s / DRAIN_S                  stay_s: how long a request has its place

places more, and never more than one for each. Taken for requests under way, what gathers while a replica
starts would ask for many more replicas than the load needs once it is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from parallel.step_table import StepTable
from serve_app.router.prediction import GUESS, Forecast, Outlook, mean, predict
from serve_app.rules import Targets
from serve_app.types import SCALING_MEANS, PoolSnapshot, Prediction, ReplicaReport, ReplicaSnapshot

DRAIN_S = 60.0
"""How soon what waits at the ingress should have been served."""


class Promise(NamedTuple):
    """What the requests of one effort should see, and how long their answers are expected to be."""

    targets: Targets
    answer_tokens: float


@dataclass(frozen=True)
class Scale:
    """What is fixed about a pool: its promises, its limits, and what is known of its engines."""

    promises: tuple[Promise, ...]
    least: int
    most: int
    max_num_seqs: int
    """Places of a replica."""
    table: StepTable = GUESS
    hysteresis: float = 0.2
    """The margin: what the pool has to do now is taken for 1 - this of what it may have."""

    def wanted(
        self, current: int, num_requests: float, reports: Sequence[ReplicaReport], num_queued: int = 0
    ) -> int:
        """Return how many replicas the pool should have, which has or will soon have `current`.

        `num_requests`: sent to replicas and not ended; `reports`: of the replicas that there are;
        `num_queued`: requests that wait for a place in the pool.
        """
        typical = _typical(reports)
        waiting_tokens = sum(report.prefill_tokens for report in reports)
        num_requests += num_queued * min(1.0, self._stay_s(typical) / DRAIN_S)

        def enough(margins: int) -> int:
            times = (1 - self.hysteresis) ** -margins
            return self._enough(num_requests * times, waiting_tokens * times, typical)

        ample = enough(margins=2)
        return ample if current > ample or current < enough(margins=1) else self._within(current)

    def _enough(self, num_requests: float, waiting_tokens: float, typical: ReplicaReport) -> int:
        """Return the least number of replicas that keeps all targets, as far as any does."""
        if not num_requests:
            return self.least
        idle = self._seen(typical)
        promises = [
            Promise(_attainable(promise.targets, seen), promise.answer_tokens)
            for promise, seen in zip(self.promises, idle, strict=True)
        ]
        for number in range(max(1, self.least), self.most):
            share = replace(
                typical,
                num_ongoing=round(num_requests / number),
                prefill_tokens=round(waiting_tokens / number),
            )
            if num_requests > number * self.max_num_seqs:
                continue
            if all(p.targets.met(one) for p, one in zip(promises, self._seen(share), strict=True)):
                return number
        return self.most

    def _seen(self, report: ReplicaReport) -> list[Prediction]:
        """Return what a request of each promise would see at such a replica."""
        outlook = self._outlook(report)
        return [predict(outlook, 0, promise.answer_tokens) for promise in self.promises]

    def _stay_s(self, typical: ReplicaReport) -> float:
        """Return how long a request has its place where all are taken."""
        full = replace(typical, num_ongoing=self.max_num_seqs - 1)
        return self._outlook(full).turn_s * self.max_num_seqs

    def _outlook(self, report: ReplicaReport) -> Outlook:
        pool = PoolSnapshot("-", frozenset(), (ReplicaSnapshot(report),), max_num_seqs=self.max_num_seqs)
        return Forecast(self.table).outlooks(pool)[0]

    def _within(self, number: int) -> int:
        return max(self.least, min(self.most, number))


def _attainable(targets: Targets, idle: Prediction) -> Targets:
    """Return the targets that a replica with nothing to do keeps: no number of them helps the others."""
    kept = {
        field.name: target
        for field in fields(targets)
        if (target := getattr(targets, field.name)) is not None and Targets(**{field.name: target}).met(idle)
    }
    return Targets(**kept)


def _typical(reports: Sequence[ReplicaReport]) -> ReplicaReport:
    """Return the mean of the replicas, by what was measured lately."""
    means = {name: mean(getattr(report, name) for report in reports) for name in SCALING_MEANS}
    draft_tokens = mean(report.draft_tokens for report in reports)
    return ReplicaReport("-", draft_tokens=round(draft_tokens or 0), **means)  # type: ignore[arg-type]
