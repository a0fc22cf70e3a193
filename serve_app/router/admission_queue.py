"""Who of those that wait for a place is next, and who has to leave when too many wait?

A request's precedence is its tenant's priority, and one more if its effort goes first (`Admission.first`).
A step of it is worth `aging_s` seconds of waiting: next is the precedence whose oldest request has the least

    since_s - aging_s * precedence

so that nobody is overtaken by a request of higher precedence that came more than `aging_s` a step later, but
by turns: within one, tenants take them, and each one's requests go in the order in which they came. A full
queue drops from its lowest precedence the newest request of the tenant that has most there.

No clock and no I/O: the ingress and the simulator run the same code.
"""

import math
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from serve_app.rules import Admission
from serve_app.types import Effort, RequestFeatures

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Waiting(Generic[T]):
    """A request that wants a place; `ticket` is what its sender knows it by."""

    features: RequestFeatures
    since_s: float
    ticket: T
    tried: Collection[str] = ()
    """Replicas that failed it before its first byte."""


def _since_s(waiting: Waiting[T]) -> float:
    return waiting.since_s


class AdmissionQueue(Generic[T]):
    """The requests that wait for one pool, `max_num` of them at most."""

    def __init__(self, rules: Admission, max_num: int) -> None:
        self.max_num = max_num
        self._rules = rules
        self._lines: dict[int, dict[str, list[Waiting[T]]]] = {}
        """By precedence and tenant, the oldest first; the tenant whose turn it is comes first."""
        self._num_by_effort: Counter[Effort] = Counter()
        self._gives_up_s = math.inf
        """No client gives up before that."""

    def __len__(self) -> int:
        return self._num_by_effort.total()

    def __iter__(self) -> Iterator[Waiting[T]]:
        for tenants in self._lines.values():
            for line in tenants.values():
                yield from line

    def __repr__(self) -> str:
        return f"<AdmissionQueue {len(self)} of {self.max_num}>"

    def num(self, effort: Effort) -> int:
        """Return how many of that effort wait."""
        return self._num_by_effort[effort]

    def precedence(self, features: RequestFeatures) -> int:
        """Return how important a request is; more goes first and is dropped last."""
        return features.priority + (features.effort is self._rules.first)

    def add(self, waiting: Waiting[T]) -> Waiting[T] | None:
        """Let a request wait; return the one that has to leave for it, maybe itself, or None."""
        tenants = self._lines.setdefault(self.precedence(waiting.features), {})
        insort(tenants.setdefault(waiting.features.tenant, []), waiting, key=_since_s)
        self._num_by_effort[waiting.features.effort] += 1
        self._gives_up_s = min(self._gives_up_s, waiting.features.gives_up_s)
        if len(self) <= self.max_num:
            return None
        lowest = self._lines[min(self._lines)]
        # Among equals it is the newcomer: whoever has come before it keeps the place.
        most = max(lowest.values(), key=lambda line: (len(line), line[-1].since_s, line[-1] is waiting))
        dropped = most[-1]
        self.remove(dropped)
        return dropped

    def remove(self, waiting: Waiting[T]) -> bool:
        """Take a request out whose turn it need not be; return whether it was there."""
        precedence, tenant = self.precedence(waiting.features), waiting.features.tenant
        line = self._lines.get(precedence, {}).get(tenant, [])
        if waiting not in line:
            return False
        line.remove(waiting)
        self._num_by_effort[waiting.features.effort] -= 1
        if not line:
            del self._lines[precedence][tenant]
        if not self._lines[precedence]:
            del self._lines[precedence]
        return True

    def first(self, passed: Collection[Waiting[T]] = ()) -> Waiting[T] | None:
        """Return the next one that is not `passed` over; it keeps its place until `served`."""
        for precedence in sorted(self._lines, key=self._key_s):
            for line in self._lines[precedence].values():
                if left := next((one for one in line if one not in passed), None):
                    return left
        return None

    def served(self, waiting: Waiting[T]) -> None:
        """Take out a request that was first; it is the next tenant's turn."""
        precedence, tenant = self.precedence(waiting.features), waiting.features.tenant
        self.remove(waiting)
        if line := self._lines.get(precedence, {}).pop(tenant, None):
            self._lines[precedence][tenant] = line

    def num_ahead(self, features: RequestFeatures, now_s: float) -> int:
        """Return how many would be served before such a request if it came now, and nobody came after it."""
        mine, number = self.precedence(features), 0
        for precedence, tenants in self._lines.items():
            if precedence > mine:
                number += sum(map(len, tenants.values()))
            elif precedence == mine:
                turns = len(tenants.get(features.tenant, ())) + 1
                others = (line for tenant, line in tenants.items() if tenant != features.tenant)
                number += turns - 1 + sum(min(len(line), turns) for line in others)
            else:
                before_s = now_s - self._rules.aging_s * (mine - precedence)
                number += sum(bisect_right(line, before_s, key=_since_s) for line in tenants.values())
        return number

    def overdue(self, now_s: float) -> list[Waiting[T]]:
        """Return the requests whose client waits no longer; they stay until removed."""
        if now_s < self._gives_up_s:
            return []
        overdue = [one for one in self if one.features.gives_up_s <= now_s]
        # Once those have been removed; asked again before, it looks again.
        later = (one.features.gives_up_s for one in self)
        self._gives_up_s = min(later, default=math.inf)
        return overdue

    def _key_s(self, precedence: int) -> float:
        oldest_s = min(line[0].since_s for line in self._lines[precedence].values())
        return oldest_s - self._rules.aging_s * precedence
