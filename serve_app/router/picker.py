"""Which of the scored candidates is taken? The better one of two, drawn from those near the best.

Every ingress replica decides on its own, on reports that are a moment old: if all took the best, they would
all take the same one. Of two drawn at random the better is seldom the same, and almost as good (Mitzenmacher,
"The Power of Two Choices in Randomized Load Balancing", 2001).
"""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

NEAR = 0.03
"""Scores that are closer to the best than this cannot be told from it: predictions are not that good."""


def pick(candidates: Sequence[T], scores: Sequence[float], rng: Random) -> T:
    """Return one of `candidates`, of which there is at least one; `scores` are theirs."""
    least = max(scores) - NEAR
    near = [i for i, score in enumerate(scores) if score >= least]
    if len(near) > 2:
        near = rng.sample(near, 2)
    if len(near) == 1:
        return candidates[near[0]]
    first, second = near
    if scores[first] == scores[second]:
        return candidates[rng.choice(near)]
    return candidates[first if scores[first] > scores[second] else second]
