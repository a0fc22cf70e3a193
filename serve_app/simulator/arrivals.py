"""Which requests come, when, and how long are they?"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from serve_app.errors import ConfigError
from serve_app.simulator.scenario import Bursts, Closed, Efforts, Length, Poisson, Scenario, Square, Trace
from serve_app.types import Effort


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request, as its sender knows it."""

    at_s: float
    effort: Effort
    prompt_tokens: int
    answer_tokens: int


def arrivals(scenario: Scenario) -> Iterator[Arrival]:
    """Yield the requests in order; those of a closed loop all come at 0, since answers say when.

    Raises ConfigError for a trace that cannot be read.
    """
    rng = Random(scenario.seed)
    source = scenario.arrivals
    if isinstance(source, Trace):
        yield from _trace(source, scenario.duration_s)
        return
    if isinstance(source, Closed):
        for _ in range(source.num_requests):
            yield _drawn(0.0, scenario.efforts, rng)
        return
    for at_s in _times(source, scenario.duration_s, rng):
        yield _drawn(at_s, scenario.efforts, rng)


def _times(source: Poisson | Bursts | Square, until_s: float, rng: Random) -> Iterator[float]:
    peak = source.high_per_s if isinstance(source, Square) else source.rate_per_s
    if isinstance(source, Square):
        peak = max(peak, source.low_per_s)
    burst_s = source.every_s if isinstance(source, Bursts) else math.inf
    now_s = rng.expovariate(peak)
    while min(now_s, burst_s) < until_s:
        if isinstance(source, Bursts) and burst_s <= now_s:
            yield from (burst_s for _ in range(source.size))
            burst_s += source.every_s
            continue
        # Thinning (Lewis and Shedler, 1979): of arrivals at the peak rate, the rate's share is kept.
        if not isinstance(source, Square) or rng.random() * peak < _rate(source, now_s):
            yield now_s
        now_s += rng.expovariate(peak)


def _rate(source: Square, now_s: float) -> float:
    return source.low_per_s if now_s % source.period_s < source.period_s / 2 else source.high_per_s


def _drawn(at_s: float, efforts: Efforts, rng: Random) -> Arrival:
    is_high = rng.random() < efforts.high.share
    effort, kind = (Effort.HIGH, efforts.high) if is_high else (Effort.NONE, efforts.none)
    return Arrival(at_s, effort, _length(kind.prompt, rng), _length(kind.answer, rng))


def _length(length: Length, rng: Random) -> int:
    tokens = round(length.median * math.exp(length.sigma * rng.gauss(0, 1)))
    return max(1, min(length.most, tokens))


def _trace(source: Trace, until_s: float) -> Iterator[Arrival]:
    before_s = 0.0
    try:
        lines = source.file.read_text().splitlines()
    except OSError as error:
        raise ConfigError([f"{source.file}: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{source.file}: not UTF-8: {error}"]) from None
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            one = Arrival(
                float(entry["at_s"]),
                Effort(entry["effort"]),
                int(entry["prompt_tokens"]),
                int(entry["answer_tokens"]),
            )
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ConfigError([f"{source.file}:{number}: {type(error).__name__}: {error}"]) from None
        if one.at_s >= until_s:
            return
        if not one.at_s >= before_s or min(one.prompt_tokens, one.answer_tokens) < 1:
            raise ConfigError(
                [f"{source.file}:{number}: at_s must not fall below {before_s:g}, nor tokens below 1: {line}"]
            )
        before_s = one.at_s
        yield one
