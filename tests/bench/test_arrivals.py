"""The load is what its seed says, and what its numbers say on average."""

import json
from itertools import pairwise
from statistics import fmean

import pytest

from tests.bench.arrivals import Kind, Mix, dealt

KINDS = (Kind("none", 0.7, 200, 50), Kind("high", 0.3, 100, 400))


def test_poisson() -> None:
    """Rate, shares and mean lengths, and gaps as spread as those of independent arrivals."""
    arrivals = Mix(KINDS, seed=1).poisson(rate=50, duration_s=200)
    assert len(arrivals) == pytest.approx(10_000, rel=0.05)
    assert all(earlier.at_s < later.at_s < 200 for earlier, later in pairwise(arrivals))
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(arrivals)]
    assert fmean(gap**2 for gap in gaps) == pytest.approx(2 * fmean(gaps) ** 2, rel=0.1)
    high = [arrival for arrival in arrivals if arrival.kind.effort == "high"]
    assert len(high) / len(arrivals) == pytest.approx(0.3, abs=0.02)
    assert fmean(arrival.answer_tokens for arrival in high) == pytest.approx(400, rel=0.05)
    assert max(arrival.answer_tokens for arrival in arrivals) <= 1600


def test_square() -> None:
    """Half of each period at one rate, half at the other, and the same again for the same seed."""
    mix = Mix(KINDS, seed=1)
    arrivals = mix.square(low=5, high=50, period_s=20, duration_s=400)
    in_low = [arrival for arrival in arrivals if arrival.at_s % 20 < 10]
    assert len(in_low) / 200 == pytest.approx(5, rel=0.1)
    assert (len(arrivals) - len(in_low)) / 200 == pytest.approx(50, rel=0.05)
    assert arrivals == mix.square(5, 50, 20, 400)
    with pytest.raises(ValueError, match="low=9 must be from 0 to high=5"):
        mix.square(9, 5, 20, 400)


def test_seed() -> None:
    """The same seed is the same load, down to the last byte; another is another."""
    mix = Mix(KINDS, seed=1)
    first, again = (mix.poisson(5, 10) for _ in range(2))
    assert first == again
    assert mix.request(first[0], "m") == mix.request(again[0], "m")
    assert Mix(KINDS, seed=2).poisson(5, 10) != first
    assert mix.request(first[0], "m")[2] != mix.request(first[1], "m")[2]


def test_words() -> None:
    """Chat, with the effort in its body and a word for each token."""
    mix = Mix((Kind("high", 1.0, 9, 5),), seed=0, spread=0.0)
    path, headers, body = mix.request(mix.at_once(1)[0], "m")
    asked = json.loads(body)
    assert (path, headers) == ("/v1/chat/completions", {})
    assert (asked["reasoning_effort"], asked["max_tokens"], asked["ignore_eos"]) == ("high", 5, True)
    assert len(asked["messages"][0]["content"].split()) == 9


def test_token_ids() -> None:
    """Completions, with the effort in a header."""
    mix = Mix((Kind("none", 1.0, 9, 5),), seed=0, spread=0.0, vocab=(1000, 1010))
    path, headers, body = mix.request(mix.at_once(1)[0], "m")
    prompt = json.loads(body)["prompt"]
    assert (path, headers) == ("/v1/completions", {"x-reasoning-effort": "none"})
    assert len(prompt) == 9
    assert set(prompt) <= set(range(1000, 1010))


def test_dealt() -> None:
    """In turn, so that each process has the same rate."""
    arrivals = Mix(KINDS, seed=0).at_once(5)
    assert dealt(arrivals, 2) == [arrivals[0::2], arrivals[1::2]]


def test_refused() -> None:
    """Shares and rates that cannot be."""
    with pytest.raises(ValueError, match=r"shares add up to 0.7, not to 1"):
        Mix(KINDS[:1], seed=0)
    with pytest.raises(ValueError, match="rate=0 must be more than 0"):
        Mix(KINDS, seed=0).poisson(0, 1)
