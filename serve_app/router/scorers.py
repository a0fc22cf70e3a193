"""How well is a request served by a candidate? Each scorer says it in [0, 1]; rules weigh them.

A scorer bears the name of its weight in `rules.Weights`, and of `router.weights` in a serve file.
"""

from collections.abc import Callable, Mapping

from serve_app.router.prediction import Candidate
from serve_app.rules import Targets, Weights

TTFT_S = 1.0
PER_TOKEN_S = 0.05
"""Where an effort has no such target, these times score one half."""

Scorer = Callable[[Candidate, Targets], float]


def ttft(candidate: Candidate, targets: Targets) -> float:
    """1 for no time to the first token, 1/2 at the target, towards 0 beyond."""
    scale_s = targets.ttft_s or TTFT_S
    return scale_s / (scale_s + candidate.predicted.ttft_s)


def per_token(candidate: Candidate, targets: Targets) -> float:
    """1 for no time a token, 1/2 at the target, towards 0 beyond."""
    scale_s = targets.per_token_s or PER_TOKEN_S
    return scale_s / (scale_s + candidate.predicted.per_token_s)


def queue(candidate: Candidate, _: Targets) -> float:
    """1 for an idle replica, 1/2 for one whose places are all taken, towards 0 for a queue."""
    places = candidate.pool.max_num_seqs
    return places / (places + candidate.replica.load)


def kv_cache(candidate: Candidate, _: Targets) -> float:
    """The share of the KV cache that is free."""
    return 1.0 - candidate.replica.report.kv_usage


def prefix(candidate: Candidate, _: Targets) -> float:
    """The share of the prompt that is believed to be cached."""
    return candidate.cached_share


def session(candidate: Candidate, _: Targets) -> float:
    """Whether the session's last request went there."""
    return 1.0 if candidate.has_session else 0.0


SCORERS: Mapping[str, Scorer] = {
    scorer.__name__: scorer for scorer in (ttft, per_token, queue, kv_cache, prefix, session)
}


def weighed(weights: Weights) -> tuple[tuple[float, Scorer], ...]:
    """Return the scorers that count, each with its share of the whole weight."""
    given = {name: getattr(weights, name) for name in SCORERS}
    total = sum(given.values())
    return tuple((weight / total, SCORERS[name]) for name, weight in given.items() if weight)


def score(candidate: Candidate, targets: Targets, scorers: tuple[tuple[float, Scorer], ...]) -> float:
    """Return the weighted mean, in [0, 1]."""
    total = 0.0  # a sum over a generator would take half as long again
    for share, scorer in scorers:
        total += share * scorer(candidate, targets)
    return total
