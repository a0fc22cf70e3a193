"""Each scorer, case by case, and what holds for all."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.router.prediction import Candidate
from serve_app.router.scorers import SCORERS, score, weighed
from serve_app.rules import Targets, Weights
from serve_app.types import Effort, PoolSnapshot, Prediction, ReplicaReport, ReplicaSnapshot

POOL = PoolSnapshot("p", frozenset(Effort), max_num_seqs=8)
NO_TARGETS = Targets()


def candidate(
    load: int = 0,
    kv_usage: float = 0.0,
    ttft_s: float = 0.0,
    per_token_s: float = 0.0,
    cached_share: float = 0.0,
    has_session: bool = False,
) -> Candidate:
    """Return a candidate of which only this is of interest."""
    replica = ReplicaSnapshot(ReplicaReport("r", load, kv_usage=kv_usage))
    predicted = Prediction(0.0, ttft_s, per_token_s, 0.0)
    return Candidate(POOL, replica, predicted, cached_share, 0.0, has_session)


@pytest.mark.parametrize(
    ("name", "one", "targets", "wanted"),
    [
        ("ttft", candidate(ttft_s=0), NO_TARGETS, 1.0),
        ("ttft", candidate(ttft_s=1), NO_TARGETS, 0.5),
        ("ttft", candidate(ttft_s=4), Targets(ttft_s=4), 0.5),
        ("ttft", candidate(ttft_s=12), Targets(ttft_s=4), 0.25),
        ("per_token", candidate(per_token_s=0), NO_TARGETS, 1.0),
        ("per_token", candidate(per_token_s=0.05), NO_TARGETS, 0.5),
        ("per_token", candidate(per_token_s=0.03), Targets(per_token_s=0.01), 0.25),
        ("queue", candidate(), NO_TARGETS, 1.0),
        ("queue", candidate(8), NO_TARGETS, 0.5),
        ("queue", candidate(24), NO_TARGETS, 0.25),
        ("kv_cache", candidate(), NO_TARGETS, 1.0),
        ("kv_cache", candidate(kv_usage=0.75), NO_TARGETS, 0.25),
        ("prefix", candidate(), NO_TARGETS, 0.0),
        ("prefix", candidate(cached_share=0.75), NO_TARGETS, 0.75),
        ("session", candidate(), NO_TARGETS, 0.0),
        ("session", candidate(has_session=True), NO_TARGETS, 1.0),
    ],
)
def test_scorer(name: str, one: Candidate, targets: Targets, wanted: float) -> None:
    """What each says of a case that can be worked out in the head."""
    assert SCORERS[name](one, targets) == pytest.approx(wanted)


def test_every_weight_has_its_scorer() -> None:
    """The words of the configuration are those of the code."""
    assert set(SCORERS) == {field.name for field in fields(Weights)}


times = st.floats(0, 1e4)


@given(st.integers(0, 10**6), st.floats(0, 1), times, times, st.floats(0, 1), st.booleans())
def test_scores_are_in_range(
    load: int, kv_usage: float, ttft_s: float, per_token_s: float, cached: float, has_session: bool
) -> None:
    """Whatever the candidate, each score and their weighted mean are in [0, 1]."""
    one = candidate(load, kv_usage, ttft_s, per_token_s, cached, has_session)
    for scorer in SCORERS.values():
        assert 0 <= scorer(one, NO_TARGETS) <= 1
    assert 0 <= score(one, NO_TARGETS, weighed(Weights())) <= 1 + 1e-9


def test_only_proportions_of_weights_matter() -> None:
    """Twice the weights are the same weights; a weight of 0 leaves its scorer out."""
    one = candidate(3, 0.4, 0.2, 0.01, 0.5)
    single, double = Weights(), Weights(*(2 * getattr(Weights(), f.name) for f in fields(Weights)))
    assert score(one, NO_TARGETS, weighed(single)) == pytest.approx(score(one, NO_TARGETS, weighed(double)))
    assert len(weighed(replace(single, session=0.0))) == len(SCORERS) - 1
