"""What came of a run: who met the targets, how long did it take, what did it cost?"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from serve_app.rules import Targets
from serve_app.simulator.cluster import Result
from serve_app.simulator.record import Outcome, Record
from serve_app.simulator.scenario import Closed
from serve_app.types import Effort

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Times:
    """Percentiles, in seconds, by `PERCENTILES`; empty where nothing was answered."""

    ttft_s: tuple[float, ...]
    per_token_s: tuple[float, ...]
    total_s: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """The requests of one effort that came after the warm-up."""

    num_requests: int
    outcomes: dict[str, int]
    num_met: int
    """Answered within all targets of the effort."""
    goodput_per_s: float
    """Those, a second."""
    times: Times

    @property
    def met_share(self) -> float:
        """Share of all requests that were answered within the targets; 1 of none."""
        return self.num_met / self.num_requests if self.num_requests else 1.0


@dataclass(frozen=True)
class Summary:
    """Simulated figures of one scenario."""

    efforts: dict[str, Group]
    goodput_per_s: float
    reasons: dict[str, int]
    """Decisions by pool and reason."""
    gpu_hours: dict[str, float]
    """By pool, over the whole run."""
    tokens_per_gpu_s: float
    """Output tokens of the whole run."""
    kv_most: dict[str, float]
    end_s: float

    @property
    def num_requests(self) -> int:
        """Requests that came after the warm-up."""
        return sum(group.num_requests for group in self.efforts.values())


def met(record: Record, targets: Targets) -> bool:
    """Whether a request was answered within the targets.

    The client's time to the first token counts, reading included; the policy looks at the wait alone.
    """
    if record.outcome is not Outcome.ANSWERED:
        return False
    limits = (targets.ttft_s, targets.per_token_s, targets.total_s)
    return all(limit is None or took <= limit for limit, took in zip(limits, times_of(record), strict=True))


def times_of(record: Record) -> tuple[float, float, float]:
    """Return seconds to the first token, a token after it, and to the last one."""
    arrival = record.arrival
    per_token_s = (record.end_s - record.first_s) / max(1, arrival.answer_tokens - 1)
    return record.first_s - arrival.at_s, per_token_s, record.end_s - arrival.at_s


def summarise(result: Result) -> Summary:
    """Work out the figures of a run."""
    scenario = result.scenario
    rules = scenario.router.rules()
    is_closed = isinstance(scenario.arrivals, Closed)
    warm_up_s = 0.0 if is_closed else scenario.warm_up_s
    window_s = (result.end_s if is_closed else scenario.duration_s) - warm_up_s
    counted = [record for record in result.records if record.arrival.at_s >= warm_up_s]
    groups = {
        effort.value: _group(
            [r for r in counted if r.arrival.effort is effort], rules.targets[effort], window_s
        )
        for effort in Effort
    }
    num_tokens = sum(r.arrival.answer_tokens for r in result.records if r.outcome is Outcome.ANSWERED)
    gpu_s = sum(result.gpu_s.values())
    return Summary(
        groups,
        sum(group.goodput_per_s for group in groups.values()),
        dict(sorted(Counter(f"{r.pool}: {r.reason}" for r in counted).items())),
        {name: seconds / 3600 for name, seconds in result.gpu_s.items()},
        num_tokens / gpu_s if gpu_s else 0.0,
        result.kv_most,
        result.end_s,
    )


def _group(records: Sequence[Record], targets: Targets, window_s: float) -> Group:
    answered = [times_of(record) for record in records if record.outcome is Outcome.ANSWERED]
    columns = [_percentiles(column) for column in zip(*answered, strict=True)] or [()] * 3
    num_met = sum(met(record, targets) for record in records)
    outcomes = Counter(record.outcome.value for record in records if record.outcome)
    return Group(
        len(records), dict(outcomes), num_met, num_met / window_s if window_s else 0.0, Times(*columns)
    )


def _percentiles(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(one) for one in np.percentile(list(values), PERCENTILES))


def as_json(summary: Summary) -> str:
    """Return the figures for programs."""
    return json.dumps({"simulated": True, "percentiles": PERCENTILES} | asdict(summary), indent=2)


def as_text(summaries: Mapping[str, Summary]) -> str:
    """Return a table with a column for each scenario, by its name."""
    rows: list[tuple[str, list[str]]] = [("simulated, not measured", list(summaries))]

    def row(name: str, cells: Iterable[str]) -> None:
        rows.append((name, list(cells)))

    all_of = list(summaries.values())
    row("goodput, requests/s", (f"{one.goodput_per_s:.2f}" for one in all_of))
    for effort in Effort:
        groups = [one.efforts[effort.value] for one in all_of]
        row(f"{effort.value}: requests", (str(group.num_requests) for group in groups))
        row("  within targets", (f"{group.met_share:.1%}" for group in groups))
        for outcome in (Outcome.BROKEN, Outcome.REFUSED, Outcome.SHED, Outcome.LATE):
            if any(group.outcomes.get(outcome) for group in groups):
                row(f"  {outcome.value}", (str(group.outcomes.get(outcome, 0)) for group in groups))
        for name, label, scale in (
            ("ttft_s", "TTFT ms", 1e3),
            ("per_token_s", "time a token ms", 1e3),
            ("total_s", "total s", 1.0),
        ):
            cells = ["/".join(f"{scale * value:.3g}" for value in getattr(g.times, name)) for g in groups]
            row(f"  {label} p50/p90/p99", cells)
    row("GPU-hours", (f"{sum(one.gpu_hours.values()):.2f}" for one in all_of))
    row("tokens a GPU-second", (f"{one.tokens_per_gpu_s:.0f}" for one in all_of))
    row("fullest cache", (f"{max(one.kv_most.values()):.0%}" for one in all_of))
    for reason in dict.fromkeys(reason for one in all_of for reason in one.reasons):
        row(f"to {reason}", (str(one.reasons.get(reason, 0)) for one in all_of))
    left = max(len(name) for name, _ in rows)
    widths = [max(len(cells[i]) for _, cells in rows) for i in range(len(summaries))]
    return "\n".join(
        f"{name:<{left}}  {'  '.join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))}"
        for name, cells in rows
    )
