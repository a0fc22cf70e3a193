"""What do judged answers add up to, how sure is that, and which goals does it meet?"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.pocket.families.example import Effort

Z_95 = 1.959964
"""The normal distribution's 97.5 % quantile."""


@dataclass(frozen=True)
class Answer:
    """One judged answer. An error is a wrong answer that has not ended."""

    family: str
    effort: Effort
    is_right: bool
    has_ended: bool
    """Whether the model ended it, rather than the limit on its tokens."""
    num_tokens: int = 0
    error: str | None = None
    """Status and message of what came instead of an answer."""


@dataclass(frozen=True)
class Share:
    """`num` of `total` things, of which there is one at least."""

    num: int
    total: int

    @classmethod
    def of(cls, facts: Iterable[bool]) -> "Share | None":
        """The share of facts that hold; None if there are none."""
        held = list(facts)
        return cls(sum(held), len(held)) if held else None

    @property
    def percent(self) -> float:
        """The share in percent."""
        return 100 * self.num / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval in percent.

        With p = num / total, n = total and z = Z_95 its ends are
        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n): E. B. Wilson, "Probable
        inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22 (1927).
        """
        p, n, z2 = self.num / self.total, self.total, Z_95**2
        middle = p + z2 / (2 * n)
        reach = Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        low, high = ((middle + side) / (1 + z2 / n) for side in (-reach, reach))
        return 100 * max(low, 0.0), 100 * min(high, 1.0)


@dataclass(frozen=True)
class Drafting:
    """What an engine's counters say of its draft head; differences of two readings add up the same way."""

    num_drafts: float = 0.0
    num_accepted: float = 0.0
    accepted_at: tuple[float, ...] = ()
    """How often the first, second ... drafted token was accepted."""

    def since(self, earlier: "Drafting") -> "Drafting":
        """What happened between two readings. Raises ValueError if a counter fell: an engine began anew."""
        before = earlier.accepted_at or (0.0,) * len(self.accepted_at)
        if len(before) != len(self.accepted_at) or self.num_drafts < earlier.num_drafts:
            raise ValueError(f"an engine began anew: {earlier} before, {self} after")
        return Drafting(
            self.num_drafts - earlier.num_drafts,
            self.num_accepted - earlier.num_accepted,
            tuple(now - then for now, then in zip(self.accepted_at, before, strict=True)),
        )

    @property
    def length(self) -> float | None:
        """Tokens that a verify step yields: the accepted ones and one more. None if nothing was drafted."""
        return 1 + self.num_accepted / self.num_drafts if self.num_drafts else None

    @property
    def rates(self) -> tuple[float, ...]:
        """The share of drafts whose first, second ... token was accepted, in percent."""
        return tuple(100 * num / self.num_drafts for num in self.accepted_at) if self.num_drafts else ()


@dataclass(frozen=True)
class Goal:
    """One demand on the model, and what was measured; `least` None is a figure that others refer to."""

    what: str
    value: float | None
    """None if nothing that was asked says it."""
    least: float | None
    unit: str = "%"
    share: Share | None = None

    @classmethod
    def on_share(cls, what: str, share: Share | None, least: float | None) -> "Goal":
        """A goal for a share in percent."""
        return cls(what, None if share is None else share.percent, least, share=share)

    @property
    def is_met(self) -> bool | None:
        """Whether the figure itself, not its interval, reaches the goal; None if either is missing."""
        return None if self.value is None or self.least is None else self.value >= self.least

    def figures(self) -> dict[str, Any]:
        """The row as plain values."""
        interval = self.share and [round(end, 2) for end in self.share.interval]
        return {
            "what": self.what,
            "value": None if self.value is None else round(self.value, 3),
            "unit": self.unit,
            "num": self.share and self.share.num,
            "total": self.share and self.share.total,
            "interval": interval,
            "goal": self.least,
            "is_met": self.is_met,
        }


def goals(greedy: Sequence[Answer], lengths: Mapping[float, float | None]) -> list[Goal]:
    """The demands in their order.

    `greedy` are the answers at temperature 0; `lengths` are the acceptance lengths on answers at effort high
    by temperature.
    """

    def right(what: str, least: float | None, wanted: Callable[[Answer], bool]) -> Goal:
        return Goal.on_share(what, Share.of(answer.is_right for answer in greedy if wanted(answer)), least)

    def three_step(effort: Effort) -> Callable[[Answer], bool]:
        return lambda answer: answer.family == "arithmetic.three_step" and answer.effort == effort

    def in_family(name: str) -> Callable[[Answer], bool]:
        return lambda answer: answer.family == name or answer.family.startswith(f"{name}.")

    at_high = right("three-step arithmetic at high", 90, three_step("high"))
    at_none = right("the same at none", None, three_step("none"))
    gain = None if at_high.value is None or at_none.value is None else at_high.value - at_none.value
    return [
        right(
            "single-step tasks at none",
            95,
            lambda answer: answer.family == "arithmetic.one_step" and answer.effort == "none",
        ),
        at_high,
        at_none,
        Goal("high above none", gain, 25, "points"),
        right("tool calls, seen schemas", 95, in_family("tools.seen")),
        right("tool calls, unseen schemas", 85, in_family("tools.unseen")),
        right("JSON valid and right", 95, in_family("schemas")),
        right("images", 90, in_family("pictures")),
        Goal.on_share("ends with end of text", Share.of(answer.has_ended for answer in greedy), 99),
        Goal("acceptance length at high, temperature 0", lengths.get(0.0), 2.2, ""),
        Goal("acceptance length at high, temperature 0.7", lengths.get(0.7), 1.9, ""),
    ]


def goal_table(rows: Iterable[Goal]) -> str:
    """The demands as a table."""
    met = {True: "yes", False: "no", None: ""}
    return _table(
        ("", "measured", "of", "95 % interval", "goal", "met"),
        [
            (
                row.what,
                _said(row.value, row.unit),
                str(row.share.total) if row.share else "",
                _interval(row.share),
                f">= {row.least:g} {row.unit}".rstrip() if row.least is not None else "",
                met[row.is_met],
            )
            for row in rows
        ],
    )


def family_figures(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Each family and effort in alphabetical order, as plain values."""
    figures = []
    for family, effort in sorted({(answer.family, answer.effort) for answer in answers}):
        own = [answer for answer in answers if (answer.family, answer.effort) == (family, effort)]
        share = Share(sum(answer.is_right for answer in own), len(own))
        figures.append(
            {
                "family": family,
                "effort": effort,
                "num": share.num,
                "total": share.total,
                "interval": [round(end, 2) for end in share.interval],
                "num_ended": sum(answer.has_ended for answer in own),
                "num_errors": sum(answer.error is not None for answer in own),
                "mean_tokens": round(sum(answer.num_tokens for answer in own) / len(own), 1),
            }
        )
    return figures


def family_table(answers: Sequence[Answer]) -> str:
    """Each family and effort as a table."""
    rows = []
    for row in family_figures(answers):
        share = Share(row["num"], row["total"])
        told = [row["num_ended"], row["num_errors"], f"{row['mean_tokens']:.0f}"]
        rows.append(
            (
                row["family"],
                row["effort"],
                str(share.total),
                _percent(share),
                _interval(share),
                *map(str, told),
            )
        )
    return _table(("family", "effort", "n", "right", "95 % interval", "ended", "errors", "mean tokens"), rows)


def drafting_table(at_high: Mapping[float, Sequence[Answer]], drafting: Mapping[float, Drafting]) -> str:
    """Answers at effort high and the draft head's work on them, by temperature, as a table."""
    rows = []
    for temperature, answers in at_high.items():
        found = drafting.get(temperature, Drafting())
        right = Share.of(answer.is_right for answer in answers)
        ended = Share.of(answer.has_ended for answer in answers)
        rows.append(
            (
                f"{temperature:g}",
                str(len(answers)),
                _percent(right),
                _percent(ended),
                f"{found.num_drafts:.0f}",
                _said(found.length, ""),
                ", ".join(f"{rate:.0f} %" for rate in found.rates),
            )
        )
    return _table(
        ("high at temperature", "n", "right", "ended", "drafts", "acceptance length", "accepted at 1, 2, .."),
        rows,
    )


def errors(answers: Iterable[Answer]) -> list[str]:
    """What came instead of answers, a line a kind, the most frequent first."""
    kinds = Counter(answer.error for answer in answers if answer.error is not None)
    return [f"{num} x {error}" for error, num in kinds.most_common()]


def _said(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    return f"{value:.1f} {unit}" if unit else f"{value:.2f}"


def _percent(share: Share | None) -> str:
    return _said(None if share is None else share.percent, "%")


def _interval(share: Share | None) -> str:
    return "" if share is None else "{:.1f} to {:.1f}".format(*share.interval)


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown that can be read as plain text too; all columns but the first are flush right."""
    widths = [max(3, *map(len, column)) for column in zip(heading, *rows, strict=True)]
    aligned = [
        " | ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (heading, *rows)
    ]
    rule = " | ".join("-" * (width - bool(place)) + ":" * bool(place) for place, width in enumerate(widths))
    return "\n".join(f"| {line} |" for line in (aligned[0], rule, *aligned[1:]))
