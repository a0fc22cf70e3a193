"""What became of the requests: how many were good, how fast were they, and what went wrong?"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.bench.load import percentile

PERCENTS = (50, 90, 99)
End = Literal["answered", "refused", "broken off", "given up", "lost"]
"""Refused with an error before the first token, or broken off with one after it; given up by its client
when its time was up; lost without a word."""

_TEXT = re.compile(rb'"(?:content|reasoning|text)":"[^"]')
_USAGE = re.compile(rb'"completion_tokens":(\d+)')


def error_of(text: bytes) -> tuple[str, str | None]:
    """Return what an error says, and its code if it has OpenAI's shape."""
    try:
        error = json.loads(text)["error"]
        message, _, code = str(error["message"]), error["type"], error["code"]
    except (ValueError, KeyError, TypeError):
        return text[:200].decode(errors="replace"), None
    return message[:200], None if code is None else str(code)


class Reading:
    """A stream of server-sent events, as it comes."""

    def __init__(self) -> None:
        self.first_s: float | None = None
        """When the first event with text was complete."""
        self.last_s: float | None = None
        self.num_events = 0
        """Events with text."""
        self.num_tokens: int | None = None
        """What the server says that it wrote."""
        self.error: str | None = None
        """What an error event said."""
        self.code: str | None = None
        """Of the error, if it has OpenAI's shape."""
        self.is_complete = False
        self._rest = b""

    def feed(self, part: bytes, at_s: float) -> None:
        """Take what one read brought; events may begin and end anywhere in it."""
        *events, self._rest = (self._rest + part).split(b"\n\n")
        for event in events:
            if _TEXT.search(event):
                self.first_s = at_s if self.first_s is None else self.first_s
                self.last_s = at_s
                self.num_events += 1
            if found := _USAGE.search(event):
                self.num_tokens = int(found[1])
            if event.startswith(b'data: {"error"'):
                self.error, self.code = error_of(event.removeprefix(b"data: "))
            self.is_complete = self.is_complete or event.strip() == b"data: [DONE]"


@dataclass(frozen=True)
class Outcome:
    """One request. Times in seconds from the start of the load."""

    effort: str
    planned_s: float
    sent_s: float
    ended_s: float
    asked_tokens: int
    num_tokens: int = 0
    first_s: float | None = None
    last_s: float | None = None
    num_events: int = 0
    pool: str | None = None
    """Who served it, if that is said."""
    error: str | None = None
    code: str | None = None
    """Of the error, if it came in OpenAI's shape; without one a request that failed is lost."""
    retry_after_s: float = 0.0
    """When to come back, as the server says."""
    replica: str | None = None
    """Of the pool that served it."""

    def later(self, by_s: float) -> "Outcome":
        """Return it as seen from so many seconds before."""
        times = {
            name: getattr(self, name) for name in ("planned_s", "sent_s", "ended_s", "first_s", "last_s")
        }
        return replace(self, **{name: at_s + by_s for name, at_s in times.items() if at_s is not None})

    @property
    def end(self) -> "End":
        """How it ended."""
        if self.error is None:
            return "answered"
        if self.code is None:
            return "given up" if self.error.startswith("TimeoutError") else "lost"
        return "refused" if self.first_s is None else "broken off"

    @property
    def is_lost(self) -> bool:
        """Whether nobody has answered it, not even by an error."""
        return self.end in ("lost", "given up")

    @property
    def first_token_s(self) -> float | None:
        """Seconds to the first text; None without one."""
        return None if self.first_s is None else self.first_s - self.sent_s

    @property
    def per_token_s(self) -> float | None:
        """Seconds a token after the first; None for fewer than two."""
        if self.first_s is None or self.last_s is None or self.num_tokens < 2:
            return None
        return (self.last_s - self.first_s) / (self.num_tokens - 1)


@dataclass(frozen=True)
class Aim:
    """What a good answer of an effort keeps to; None leaves it open."""

    first_token_s: float | None = None
    per_token_s: float | None = None

    def is_met(self, outcome: Outcome) -> bool:
        """Whether a request was answered whole, and in time."""
        return outcome.error is None and all(
            aim is None or (took is not None and took <= aim)
            for aim, took in (
                (self.first_token_s, outcome.first_token_s),
                (self.per_token_s, outcome.per_token_s),
            )
        )


def summary(outcomes: Sequence[Outcome], aims: Mapping[str, Aim]) -> dict[str, Any]:
    """Figures of all requests, and of each effort. Times in seconds, rates a second."""
    efforts = sorted({outcome.effort for outcome in outcomes})
    parts = {effort: [one for one in outcomes if one.effort == effort] for effort in efforts}
    found = _figures(outcomes, aims)
    late = [one.sent_s - one.planned_s for one in outcomes]
    return found | {
        "efforts": {effort: _figures(part, aims) for effort, part in parts.items()},
        "sent_late_s": _percentiles(late),
        "errors": dict(Counter(one.error for one in outcomes if one.error)),
        "pools": dict(Counter(f"{one.effort} -> {one.pool}" for one in outcomes if one.pool)),
    }


def _figures(outcomes: Sequence[Outcome], aims: Mapping[str, Aim]) -> dict[str, Any]:
    duration_s = max(one.ended_s for one in outcomes) - min(one.sent_s for one in outcomes)
    whole = [one for one in outcomes if one.error is None]
    good = [one for one in outcomes if aims.get(one.effort, Aim()).is_met(one)]
    return {
        "requests": len(outcomes),
        "failed": len(outcomes) - len(whole),
        "duration_s": duration_s,
        "requests_per_s": len(whole) / duration_s,
        "goodput_per_s": len(good) / duration_s,
        "good_share": len(good) / len(outcomes),
        "output_tokens_per_s": sum(one.num_tokens for one in outcomes) / duration_s,
        "first_token_s": _percentiles([s for one in whole if (s := one.first_token_s) is not None]),
        "per_token_s": _percentiles([s for one in whole if (s := one.per_token_s) is not None]),
        "answer_s": _percentiles([one.ended_s - one.sent_s for one in whole]),
        "events_per_token": _share(
            sum(one.num_events for one in whole), sum(one.num_tokens for one in whole)
        ),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    return {f"p{percent}": percentile(values, percent) for percent in PERCENTS} if values else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def table(found: Mapping[str, Any]) -> str:
    """A Markdown table: all requests, and those of each effort."""
    lines = [
        "| effort | requests | failed | goodput/s | good | tok/s | TTFT s p50 | p90 | p99 | ms/token | p99 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, part in (*found["efforts"].items(), ("all", found)):
        first, token = part["first_token_s"] or {}, part["per_token_s"] or {}
        cells = [
            name,
            part["requests"],
            part["failed"],
            f"{part['goodput_per_s']:.2f}",
            f"{part['good_share']:.0%}",
            f"{part['output_tokens_per_s']:.0f}",
            *(f"{first.get(f'p{percent}', float('nan')):.3f}" for percent in PERCENTS),
            *(f"{1000 * token.get(f'p{percent}', float('nan')):.1f}" for percent in (50, 99)),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [f"{number} x {error}" for error, number in found["errors"].items()]
    return "\n".join(lines)
