"""The better one of two, drawn from those near the best."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from serve_app.router.picker import NEAR, pick


def test_the_best_if_nobody_is_near() -> None:
    """What is clearly better is taken every time."""
    assert {pick("abc", [0.5, 0.9, 0.8], Random(i)) for i in range(50)} == {"b"}


def test_the_better_of_two() -> None:
    """Of two that are near each other the better one."""
    assert {pick("ab", [0.5, 0.5 - NEAR / 2], Random(i)) for i in range(50)} == {"a"}


def test_equals_are_drawn_by_lot() -> None:
    """Equal ones share, and one far below gets nothing."""
    rng = Random(0)
    drawn = Counter(pick("abcd", [0.7, 0.7, 0.7, 0.2], rng) for _ in range(600))
    assert set(drawn) == {"a", "b", "c"}
    assert min(drawn.values()) > 140


def test_the_load_is_spread_among_the_near() -> None:
    """The worst of those that are near the best is never the better of two; the others get their part."""
    rng = Random(0)
    drawn = Counter(pick("abc", [0.70, 0.69, 0.68], rng) for _ in range(600))
    assert set(drawn) == {"a", "b"}
    assert drawn["a"] > drawn["b"] > 100


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(0, 2**32))
def test_any_scores(scores: list[float], seed: int) -> None:
    """The same seed picks the same, and what is picked is near the best."""
    picked = pick(range(len(scores)), scores, Random(seed))
    assert picked == pick(range(len(scores)), scores, Random(seed))
    assert scores[picked] >= max(scores) - NEAR
