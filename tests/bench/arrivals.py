"""Which requests come when? An open loop: they come whether or not earlier ones have been answered."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from math import exp
from random import Random
from typing import Any, Literal

Effort = Literal["none", "high"]
EFFORTS: tuple[Effort, ...] = ("none", "high")
EFFORT_HEADER = "x-reasoning-effort"
"""Where completions, which have no field for it, say their effort to Venturi."""
WORDS = (
    *("river", "valley", "stone", "bridge", "garden", "window", "paper", "water", "apple", "light", "fast"),
    *("seven", "north", "table", "music", "green", "horse", "cloud", "letter", "quiet", "market", "winter"),
)
"""About a token each, to any tokenizer that knows English."""


@dataclass(frozen=True)
class Kind:
    """Requests of one effort: their share of all, and their mean lengths in tokens."""

    effort: Effort
    share: float
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Arrival:
    """One request: when it is sent, counted from the start, and what it asks for."""

    at_s: float
    kind: Kind
    prompt_tokens: int
    answer_tokens: int
    seed: int
    """Of its prompt, which is drawn when it is sent: thousands would take long to hold."""


@dataclass(frozen=True)
class Mix:
    """What is asked, all drawn from one seed; ValueError for shares that do not add up to one."""

    kinds: tuple[Kind, ...]
    seed: int
    spread: float = 0.5
    """Of lengths: the standard deviation of their logarithm; the means stay what they are."""
    vocab: tuple[int, int] | None = None
    """Prompts are token ids from this range; words if there is none."""

    def __post_init__(self) -> None:
        total = sum(kind.share for kind in self.kinds)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"shares add up to {total:g}, not to 1")

    def poisson(self, rate: float, duration_s: float) -> list[Arrival]:
        """Requests that come independently of each other, `rate` a second, for so long."""
        if rate <= 0:
            raise ValueError(f"rate={rate:g} must be more than 0")
        random = Random(f"times {self.seed}")
        times = accumulate(random.expovariate(rate) for _ in repeat(None))
        return list(self._arrivals(_until(times, duration_s)))

    def square(self, low: float, high: float, period_s: float, duration_s: float) -> list[Arrival]:
        """Requests that come independently, in turn `low` and `high` a second for half a period each."""
        if not 0 <= low <= high:
            raise ValueError(f"low={low:g} must be from 0 to high={high:g}")
        keeps = Random(f"low {self.seed}")
        return [
            arrival
            for arrival in self.poisson(high, duration_s)
            if arrival.at_s % period_s >= period_s / 2 or keeps.random() < low / high
        ]

    def at_once(self, number: int) -> list[Arrival]:
        """So many requests without a time of their own, for a closed loop."""
        return list(self._arrivals(repeat(0.0, number)))

    def _arrivals(self, times: Iterator[float]) -> Iterator[Arrival]:
        random = Random(f"requests {self.seed}")
        shares = [kind.share for kind in self.kinds]
        for number, at_s in enumerate(times):
            (kind,) = random.choices(self.kinds, shares)
            yield Arrival(
                at_s,
                kind,
                prompt_tokens=self._length(random, kind.prompt_tokens),
                answer_tokens=self._length(random, kind.answer_tokens),
                seed=self.seed * 1_000_003 + number,
            )

    def _length(self, random: Random, mean: int) -> int:
        """Log-normal, at most four times its mean."""
        drawn = mean * exp(random.gauss(-(self.spread**2) / 2, self.spread))
        return max(1, min(4 * mean, round(drawn)))

    def request(self, arrival: Arrival, model: str) -> tuple[str, dict[str, str], bytes]:
        """Path, headers and body. An answer has exactly the tokens that were asked for."""
        random = Random(arrival.seed)
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": arrival.answer_tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.vocab:
            body["prompt"] = random.choices(range(*self.vocab), k=arrival.prompt_tokens)
            return "/v1/completions", {EFFORT_HEADER: arrival.kind.effort}, json.dumps(body).encode()
        words = " ".join(random.choices(WORDS, k=arrival.prompt_tokens))
        body["messages"] = [{"role": "user", "content": words}]
        body["reasoning_effort"] = arrival.kind.effort
        return "/v1/chat/completions", {}, json.dumps(body).encode()


def _until(times: Iterator[float], end_s: float) -> Iterator[float]:
    for at_s in times:
        if at_s >= end_s:
            return
        yield at_s


def dealt(arrivals: Sequence[Arrival], hands: int) -> list[list[Arrival]]:
    """The arrivals in turn to so many processes, each in order."""
    return [list(arrivals[hand::hands]) for hand in range(hands)]
