"""The routing policy: what pools that are home to nobody get, and servers that lack something."""

from dataclasses import replace
from random import Random

import pytest

from serve_app.errors import NoReplica, Unsupported
from serve_app.router.policy import Policy
from serve_app.rules import Rules
from serve_app.types import (
    Block,
    Effort,
    PoolSnapshot,
    Reason,
    ReplicaReport,
    ReplicaSnapshot,
    RequestFeatures,
)
from tests.serve_app.router.states import FRESH, HIGH, NONE, NOW_S, RULES, STALE, decide, latency, throughput
from tests.serve_app.router.test_policy_away import SLOW, backlog

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


def overflow(age_s: float = FRESH, **traits: object) -> PoolSnapshot:
    """Return a pool that is home to nobody."""
    replica = ReplicaSnapshot(ReplicaReport("o"), NOW_S - age_s)
    return replace(PoolSnapshot("overflow", frozenset(), (replica,)), **traits)  # type: ignore[arg-type]


T, L = throughput(("t", 0, FRESH)), latency(("l", 0, FRESH))
NO_T, NO_L = throughput(("t", 0, STALE)), latency(("l", 0, STALE))
LATE = replace(T, replicas=(backlog("t", 50_000),))
LATER_T = replace(T, replicas=(backlog("t", 60_000),))
LATER = replace(L, replicas=(backlog("l", 60_000),))


@pytest.mark.parametrize(
    ("pools", "rules", "wanted"),
    [
        pytest.param((T, L), RULES, ("throughput", Reason.EFFORT), id="home is there"),
        pytest.param((NO_T, L), RULES, ("latency", Reason.NO_HEALTHY_REPLICA), id="our own pools first"),
        pytest.param((NO_T, NO_L), RULES, ("overflow", Reason.NO_HEALTHY_REPLICA), id="nothing of ours"),
        pytest.param((LATE, L), SLOW, ("latency", Reason.SPILL_OVER), id="one of ours is in time"),
        pytest.param((LATE, LATER), SLOW, ("overflow", Reason.SPILL_OVER), id="all of ours are later"),
        pytest.param((LATE, NO_L), SLOW, ("overflow", Reason.SPILL_OVER), id="the only one away"),
    ],
)
def test_what_overflows(pools: tuple[PoolSnapshot, ...], rules: Rules, wanted: tuple[str, Reason]) -> None:
    """A pool that is home to nobody gets what no other pool takes."""
    decision = decide(NONE, (overflow(), *pools), rules, Random(0))
    assert (decision.pool, decision.reason) == wanted


@pytest.mark.parametrize(
    ("deadline_s", "pools", "wanted"),
    [
        pytest.param(4.0, (LATE, L), ("latency", Reason.SPILL_OVER), id="our own first, here too"),
        pytest.param(4.0, (LATE, LATER), ("overflow", Reason.SPILL_OVER), id="none of ours is in time"),
        pytest.param(4.0, (LATE, NO_L), ("overflow", Reason.SPILL_OVER), id="the only one away"),
        pytest.param(5.5, (LATE, L), ("throughput", Reason.EFFORT), id="home is in time"),
        pytest.param(5.5, (LATER_T, L), ("latency", Reason.SPILL_OVER), id="home is not"),
    ],
)
def test_who_keeps_a_deadline(
    deadline_s: float, pools: tuple[PoolSnapshot, ...], wanted: tuple[str, Reason]
) -> None:
    """Who would be late at home goes to another pool of ours, if one is in time, before it overflows."""
    features = replace(NONE, first_token_deadline_s=NOW_S + deadline_s)
    for seed in range(10):
        decision = decide(features, (overflow(), *pools), RULES, Random(seed))
        assert (decision.pool, decision.reason) == wanted


def test_nothing_leaves_where_nothing_may_spill_over() -> None:
    """Also not what home cannot serve."""
    rules = replace(RULES, spill_over=False)
    plain = replace(NONE, plain_decoding=("min_p",))
    for features, home in ((NONE, NO_T), (plain, replace(T, speculates=True))):
        with pytest.raises(NoReplica):
            decide(features, (overflow(), home), rules, Random(0))


def test_it_keeps_no_prompts() -> None:
    """What it has cached brings no request back to it once home takes requests again."""
    policy = Policy(RULES, {}, Random(0))
    features = RequestFeatures(Effort.NONE, prompt_tokens=50_000, blocks=(Block(1, 50_000),))
    assert policy.decide(features, (overflow(), NO_T), NOW_S).pool == "overflow"
    assert policy.decide(features, (overflow(), T), NOW_S).pool == "throughput"


def test_what_it_lacks() -> None:
    """Neither routes nor efforts that a server does not have are sent there."""
    lacking = overflow(routes=frozenset({CHAT}), serves=frozenset({Effort.NONE}))
    chat, messages = replace(NONE, route=CHAT), replace(NONE, route=MESSAGES)
    assert decide(chat, (lacking, NO_T), RULES, Random(0)).pool == "overflow"
    for features in (messages, replace(HIGH, route=CHAT)):
        decision = decide(features, (lacking, L, NO_T), RULES, Random(0))
        assert decision.pool == "latency"
    with pytest.raises(Unsupported, match=r"no pool .* /v1/messages .*'none' .*overflow: route\)"):
        decide(messages, (lacking,), RULES, Random(0))
    with pytest.raises(Unsupported, match=r"'high' .*overflow: effort\)"):
        decide(replace(HIGH, route=CHAT), (lacking,), RULES, Random(0))


def test_home_without_the_route() -> None:
    """A request that its home cannot be asked goes to another pool, and is told why."""
    home = replace(T, routes=frozenset({CHAT}))
    decision = decide(replace(NONE, route=MESSAGES), (home, L), RULES, Random(0))
    assert (decision.pool, decision.reason) == ("latency", Reason.DIALECT)
