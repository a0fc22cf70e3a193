"""What became of a load's requests while replicas of a pool came and went?"""

from bisect import bisect
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.outcomes import Outcome, summary


@dataclass(frozen=True)
class Stage:
    """A time in which neither clients nor replicas changed in number, and what was asked in it."""

    from_s: float
    num_clients: int
    num_replicas: int
    outcomes: tuple[Outcome, ...]

    @property
    def by_replica(self) -> dict[str, int]:
        """How many each replica answered."""
        return dict(Counter(one.replica for one in self.outcomes if one.replica and one.error is None))

    def record(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "from_s": self.from_s,
            "clients": self.num_clients,
            "replicas": self.num_replicas,
            "ends": dict(Counter(one.end for one in self.outcomes)),
            "by_replica": self.by_replica,
            "found": summary(self.outcomes, {}),
        }


@dataclass(frozen=True)
class Course:
    """What came of a load that goes up and down."""

    phases: tuple[tuple[float, int], ...]
    """From when, and how many clients asked from then on. Times in seconds from the start."""
    changes: tuple[tuple[float, frozenset[str]], ...]
    """From when, and which replicas there were from then on."""
    outcomes: tuple[Outcome, ...]

    @property
    def num_lost(self) -> int:
        """Requests that nobody answered."""
        return sum(one.is_lost for one in self.outcomes)

    @property
    def numbers(self) -> list[int]:
        """How many replicas there were, one after the other."""
        return [len(there) for _, there in self.changes]

    def stages(self) -> list[Stage]:
        """Return the parts in which anything was asked."""
        starts = [from_s for from_s, _ in self.phases]
        times = [at_s for at_s, _ in self.changes]
        bounds = sorted({*starts, *times})
        parts: dict[float, list[Outcome]] = {bound: [] for bound in bounds}
        for one in self.outcomes:
            parts[bounds[bisect(bounds, one.sent_s) - 1]].append(one)
        return [
            Stage(
                at_s,
                self.phases[bisect(starts, at_s) - 1][1],
                self.numbers[bisect(times, at_s) - 1],
                tuple(part),
            )
            for at_s, part in parts.items()
            if part
        ]

    def under_way(self) -> list[Outcome]:
        """Return what a replica was answering when it was taken from the router."""
        changes = zip(self.changes, self.changes[1:], strict=False)
        return [
            one
            for (_, before), (at_s, after) in changes
            for one in self.outcomes
            if one.replica in before - after and one.sent_s < at_s < one.ended_s
        ]

    def record(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "phases": self.phases,
            "changes": [(at_s, sorted(there)) for at_s, there in self.changes],
            "stages": [stage.record() for stage in self.stages()],
            "lost": self.num_lost,
            "under_way_when_their_replica_left": [asdict(one) for one in self.under_way()],
        }


def table(course: Course) -> str:
    """Return a Markdown table of the stages."""
    lines = [
        "| from | clients | replicas | requests | answered | refused | lost | TTFT p50 / p99 | by each |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for stage in course.stages():
        ends = Counter(one.end for one in stage.outcomes)
        served = sorted(stage.by_replica.values(), reverse=True)
        times_s = summary(stage.outcomes, {})["first_token_s"]
        cells = [
            f"{stage.from_s:.0f} s",
            str(stage.num_clients),
            str(stage.num_replicas),
            str(len(stage.outcomes)),
        ]
        cells += [str(ends[end]) for end in ("answered", "refused")]
        cells.append(str(sum(one.is_lost for one in stage.outcomes)))
        cells.append(f"{times_s['p50']:.2f} / {times_s['p99']:.2f} s" if times_s else "-")
        cells.append(" + ".join(map(str, served)))
        lines.append(f"| {' | '.join(cells)} |")
    ends = Counter(one.end for one in course.under_way())
    lines.append(f"under way at a replica when it was taken away: {dict(ends) or 'nothing'}")
    return "\n".join(lines)
