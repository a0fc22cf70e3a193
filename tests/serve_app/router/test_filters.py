"""Each filter, case by case."""

from dataclasses import replace

import pytest

from serve_app.router.filters import (
    awaited,
    floored,
    healthy,
    places,
    reachable,
    speculation_refused,
    too_long,
    unavailable,
)
from serve_app.rules import Rules
from serve_app.types import Effort, PoolSnapshot, ReplicaReport, ReplicaSnapshot, RequestFeatures, Shape

NOW_S = 100.0
RULES = Rules(max_age_s=2.0)
AVOID = Rules(avoid_speculation=frozenset({Shape.SCHEMA, Shape.IMAGES}))


@pytest.mark.parametrize(
    ("features", "rules", "refused"),
    [
        (RequestFeatures(Effort.HIGH), AVOID, ()),
        (RequestFeatures(Effort.HIGH, ("min_p",)), RULES, ("min_p",)),
        (RequestFeatures(Effort.HIGH, has_schema=True, has_tools=True, num_images=1), RULES, ()),
        (RequestFeatures(Effort.HIGH, has_tools=True), AVOID, ()),
        (
            RequestFeatures(Effort.HIGH, ("min_p",), has_schema=True, num_images=1),
            AVOID,
            ("min_p", "images", "schema"),
        ),
    ],
)
def test_speculation(features: RequestFeatures, rules: Rules, refused: tuple[str, ...]) -> None:
    """What vLLM cannot do while it speculates, and what the operator does not want it to do."""
    pool = PoolSnapshot("latency", frozenset({Effort.HIGH}), speculates=True)
    assert speculation_refused(pool, features, rules) == refused
    biasing = tuple(one for one in refused if one not in features.plain_decoding)
    assert speculation_refused(replace(pool, biases_drafts=True), features, rules) == biasing
    assert speculation_refused(replace(pool, speculates=False), features, rules) == ()


@pytest.mark.parametrize(
    ("max_model_len", "draft_max_len", "num_tokens", "which"),
    [
        (None, None, (10**9, None), None),
        (1000, None, (1000, None), None),
        (1000, None, (1001, None), "context"),
        (1000, None, (900, 101), "context"),
        (1000, 500, (400, 100), None),
        (1000, 500, (400, 101), "draft-limit"),
        (None, 500, (501, None), "draft-limit"),
    ],
)
def test_lengths(
    max_model_len: int | None,
    draft_max_len: int | None,
    num_tokens: tuple[int, int | None],
    which: str | None,
) -> None:
    """Prompt and answer together against the context, then against what the head drafts for."""
    pool = PoolSnapshot("p", frozenset(Effort), max_model_len=max_model_len, draft_max_len=draft_max_len)
    prompt_tokens, max_tokens = num_tokens
    features = RequestFeatures(Effort.NONE, prompt_tokens=prompt_tokens, max_tokens=max_tokens)
    assert too_long(pool, features) == which


@pytest.mark.parametrize(
    ("age_s", "is_draining", "tried", "why"),
    [
        (0.0, False, (), None),
        (2.0, False, (), None),
        (2.1, False, (), "silent"),
        (0.0, True, (), "draining"),
        (0.0, False, ("other",), None),
        (0.0, False, ("r", "other"), "tried"),
    ],
)
def test_unavailable(age_s: float, is_draining: bool, tried: tuple[str, ...], why: str | None) -> None:
    """A report as old as allowed is fresh; who drains or has failed gets nothing."""
    replica = ReplicaSnapshot(ReplicaReport("r", is_draining=is_draining), NOW_S - age_s)
    assert unavailable(replica, RULES, NOW_S, tried) == why


@pytest.mark.parametrize(
    ("age_s", "is_draining", "is_broken", "tried", "is_awaited"),
    [
        (2.0, False, False, (), False),
        (2.1, False, False, (), True),
        (4.0, False, False, ("other",), True),
        (4.1, False, False, (), False),
        (2.1, True, False, (), False),
        (2.1, False, True, (), False),
        (2.1, False, False, ("r",), False),
    ],
)
def test_awaited(
    age_s: float, is_draining: bool, is_broken: bool, tried: tuple[str, ...], is_awaited: bool
) -> None:
    """Who is silent for a moment, and would take the request if it were not; a pool with one is reachable."""
    rules = replace(RULES, max_silence_s=4.0)
    report = ReplicaReport("r", is_draining=is_draining)
    replica = ReplicaSnapshot(report, NOW_S - age_s, is_broken=is_broken)
    assert awaited(replica, rules, NOW_S, tried) == is_awaited
    pool = PoolSnapshot("p", frozenset(Effort), (replica,))
    assert reachable(pool, rules, NOW_S, tried) == (is_awaited or age_s <= 2.0)


def test_healthy_keeps_order() -> None:
    """The available replicas of a pool, as they stand there."""
    replicas = tuple(
        ReplicaSnapshot(ReplicaReport(name), NOW_S - age_s)
        for name, age_s in (("a", 0.5), ("b", 2.5), ("c", 0.5), ("d", 0.5))
    )
    pool = PoolSnapshot("p", frozenset(Effort), replicas)
    assert [r.replica for r in healthy(pool, RULES, NOW_S, {"c"})] == ["a", "d"]


@pytest.mark.parametrize(
    ("own", "effort", "num_places"),
    [
        ({Effort.HIGH}, Effort.NONE, 5.0),
        ({Effort.HIGH}, Effort.HIGH, 10.0),
        ({Effort.NONE}, Effort.HIGH, 10.0),
        ({Effort.NONE, Effort.HIGH}, Effort.NONE, 5.0),
    ],
)
def test_places(own: set[Effort], effort: Effort, num_places: float) -> None:
    """A pool keeps its own efforts' floor free of others; only high has one by default."""
    pool = PoolSnapshot("p", frozenset(own), max_num_seqs=10)
    assert places(pool, effort, RULES) == num_places


@pytest.mark.parametrize(("load", "leased", "verdict"), [(3, 1, None), (4, 1, "floor"), (5, 0, "floor")])
def test_floored(load: int, leased: int, verdict: str | None) -> None:
    """Whether one more fits, what was sent since the report included."""
    replica = ReplicaSnapshot(ReplicaReport("r", load), NOW_S, leased)
    assert floored(replica, 5.0) == verdict
