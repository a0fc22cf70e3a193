"""The routing policy, case by case, and what holds for every case."""

from collections.abc import Collection
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serve_app.errors import InvalidRequest, NoReplica
from serve_app.router.filters import healthy, too_long
from serve_app.router.policy import Policy
from serve_app.types import (
    Block,
    Decision,
    Effort,
    PoolSnapshot,
    Preference,
    Reason,
    ReplicaReport,
    ReplicaSnapshot,
    RequestFeatures,
    Rules,
    Shape,
    Targets,
)

RULES = Rules(spill_over=True, max_age_s=2.0)
HOME_ONLY = Rules(spill_over=False, max_age_s=2.0)
NOW_S = 100.0
FRESH, STALE = 0.5, 2.5


def replica(name: str, load: int, age_s: float) -> ReplicaSnapshot:
    """Return what is known of a replica with that many requests, from a report that old."""
    return ReplicaSnapshot(ReplicaReport(name, load), NOW_S - age_s)


def decide(
    features: RequestFeatures,
    pools: tuple[PoolSnapshot, ...],
    rules: Rules,
    rng: Random,
    tried: Collection[str] = (),
) -> Decision:
    """Return what a fresh policy decides."""
    return Policy(rules, {}, rng).decide(features, pools, NOW_S, tried)


def pool(name: str, effort: Effort, *replicas: tuple[str, int, float]) -> PoolSnapshot:
    """Return a pool for one effort; each replica is (name, load, age)."""
    return PoolSnapshot(name, frozenset({effort}), tuple(replica(*r) for r in replicas))


def throughput(*replicas: tuple[str, int, float]) -> PoolSnapshot:
    """Return the pool for effort none."""
    return pool("throughput", Effort.NONE, *replicas)


def latency(*replicas: tuple[str, int, float]) -> PoolSnapshot:
    """Return the pool for effort high."""
    return pool("latency", Effort.HIGH, *replicas)


NONE, HIGH = RequestFeatures(Effort.NONE), RequestFeatures(Effort.HIGH)


@pytest.mark.parametrize(
    ("features", "pools", "rules", "tried", "decision"),
    [
        pytest.param(
            NONE,
            (throughput(("t1", 0, FRESH)), latency(("l1", 0, FRESH))),
            RULES,
            (),
            Decision("throughput", "t1", Reason.EFFORT),
            id="none goes to its pool",
        ),
        pytest.param(
            HIGH,
            (throughput(("t1", 0, FRESH)), latency(("l1", 0, FRESH))),
            RULES,
            (),
            Decision("latency", "l1", Reason.EFFORT),
            id="high goes to its pool",
        ),
        pytest.param(
            HIGH,
            (throughput(("t1", 0, FRESH)), latency(("l1", 99, FRESH))),
            RULES,
            (),
            Decision("latency", "l1", Reason.EFFORT),
            id="a busy home is still home",
        ),
        pytest.param(
            NONE,
            (throughput(("t1", 7, FRESH), ("t2", 3, FRESH), ("t3", 5, FRESH)),),
            RULES,
            (),
            Decision("throughput", "t2", Reason.EFFORT),
            id="the least loaded",
        ),
        pytest.param(
            NONE,
            (throughput(("t1", 7, FRESH), ("t2", 3, STALE)),),
            RULES,
            (),
            Decision("throughput", "t1", Reason.EFFORT),
            id="not a stale one, however idle",
        ),
        pytest.param(
            NONE,
            (throughput(("t1", 0, 2.0)),),
            RULES,
            (),
            Decision("throughput", "t1", Reason.EFFORT),
            id="as old as allowed is fresh",
        ),
        pytest.param(
            NONE,
            (throughput(("t1", 0, FRESH), ("t2", 9, FRESH)),),
            RULES,
            ("t1",),
            Decision("throughput", "t2", Reason.REPLICA_FAILED),
            id="another one after a failure",
        ),
        pytest.param(
            HIGH,
            (throughput(("t1", 9, FRESH)), latency(("l1", 0, STALE))),
            RULES,
            (),
            Decision("throughput", "t1", Reason.NO_HEALTHY_REPLICA),
            id="away when home is stale",
        ),
        pytest.param(
            HIGH,
            (throughput(("t1", 9, FRESH)), latency()),
            RULES,
            (),
            Decision("throughput", "t1", Reason.NO_HEALTHY_REPLICA),
            id="away when home is empty",
        ),
        pytest.param(
            HIGH,
            (throughput(("t1", 9, FRESH)), latency(("l1", 0, FRESH))),
            RULES,
            ("l1",),
            Decision("throughput", "t1", Reason.NO_HEALTHY_REPLICA),
            id="away when home has failed",
        ),
        pytest.param(
            NONE,
            (throughput(("t1", 5, FRESH)), pool("bulk", Effort.NONE, ("b1", 2, FRESH))),
            HOME_ONLY,
            (),
            Decision("bulk", "b1", Reason.EFFORT),
            id="two pools of one effort are one home",
        ),
    ],
)
def test_decide(
    features: RequestFeatures,
    pools: tuple[PoolSnapshot, ...],
    rules: Rules,
    tried: tuple[str, ...],
    decision: Decision,
) -> None:
    """Home before away, fresh and untried only, then the least loaded; and the reason says which."""
    assert decide(features, pools, rules, Random(0), tried) == decision


@pytest.mark.parametrize(
    ("pools", "rules", "tried", "counts"),
    [
        ((throughput(("t1", 0, FRESH)), latency()), HOME_ONLY, (), "throughput: 1, latency: 0"),
        ((throughput(("t1", 0, STALE)), latency(("l1", 0, STALE))), RULES, (), "throughput: 0, latency: 0"),
        ((latency(("l1", 0, FRESH), ("l2", 0, FRESH)),), RULES, ("l1", "l2"), "latency: 0"),
        ((), RULES, (), ""),
    ],
)
def test_nothing_left(
    pools: tuple[PoolSnapshot, ...], rules: Rules, tried: tuple[str, ...], counts: str
) -> None:
    """Without a candidate the error names the effort and each pool's count of healthy replicas."""
    with pytest.raises(NoReplica) as refused:
        decide(HIGH, pools, rules, Random(0), tried)
    assert refused.value.message == (
        f"no healthy replica for reasoning_effort 'high' (healthy replicas: {counts})"
    )


PLAIN = RequestFeatures(Effort.HIGH, ("min_p", "logit_bias"))


def speculating(pool: PoolSnapshot) -> PoolSnapshot:
    """Return the pool with a draft head."""
    return replace(pool, speculates=True)


@pytest.mark.parametrize(
    ("pools", "rules", "decision"),
    [
        (
            (throughput(("t1", 9, FRESH)), speculating(latency(("l1", 0, FRESH)))),
            RULES,
            Decision("throughput", "t1", Reason.PLAIN_DECODING),
        ),
        (
            (throughput(("t1", 9, FRESH)), speculating(latency(("l1", 0, FRESH)))),
            HOME_ONLY,
            Decision("throughput", "t1", Reason.PLAIN_DECODING),
        ),
        (
            (throughput(("t1", 0, FRESH)), latency(("l1", 9, FRESH))),
            RULES,
            Decision("latency", "l1", Reason.EFFORT),
        ),
        (
            (
                throughput(("t1", 0, FRESH)),
                speculating(latency(("l1", 0, FRESH))),
                pool("careful", Effort.HIGH, ("c1", 9, FRESH)),
            ),
            RULES,
            Decision("careful", "c1", Reason.EFFORT),
        ),
    ],
)
def test_plain_decoding(pools: tuple[PoolSnapshot, ...], rules: Rules, decision: Decision) -> None:
    """A request that a draft head cannot honour goes where there is none, at home if possible."""
    assert decide(PLAIN, pools, rules, Random(0)) == decision


def test_plain_decoding_nowhere() -> None:
    """When every pool speculates, the request itself is refused, and the answer names its fields."""
    pools = (speculating(throughput(("t1", 0, FRESH))), speculating(latency(("l1", 0, FRESH))))
    with pytest.raises(InvalidRequest) as refused:
        decide(PLAIN, pools, RULES, Random(0))
    assert refused.value.param == "min_p"
    assert refused.value.message == (
        "min_p, logit_bias: not available with speculation, and every pool speculates (throughput, latency)"
    )


def test_plain_decoding_without_a_healthy_replica() -> None:
    """A pool that speculates is no help when the others are down."""
    pools = (throughput(("t1", 0, STALE)), speculating(latency(("l1", 0, FRESH))))
    with pytest.raises(NoReplica, match=r"healthy replicas: throughput: 0\)"):
        decide(PLAIN, pools, RULES, Random(0))


SLOW = Rules(targets={Effort.NONE: Targets(ttft_s=1.0), Effort.HIGH: Targets(ttft_s=1.0)})
"""Targets that a backlog of a second and more misses: GUESS reads 10,000 tokens a second."""


def backlog(name: str, num_tokens: int, load: int = 0) -> ReplicaSnapshot:
    """Return a replica with that many tokens of prompts to read."""
    return ReplicaSnapshot(ReplicaReport(name, load, prefill_tokens=num_tokens), NOW_S)


def places(pool: PoolSnapshot, max_num_seqs: int) -> PoolSnapshot:
    """Return the pool with so many places a replica."""
    return replace(pool, max_num_seqs=max_num_seqs)


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize(
    ("home_tokens", "away_tokens", "rules", "reason"),
    [
        pytest.param(500, 0, SLOW, Reason.EFFORT, id="home meets its targets"),
        pytest.param(50_000, 0, SLOW, Reason.SPILL_OVER, id="home misses them, another one is sooner"),
        pytest.param(50_000, 45_000, SLOW, Reason.EFFORT, id="not sooner by enough"),
        pytest.param(50_000, 60_000, SLOW, Reason.EFFORT, id="later"),
        pytest.param(50_000, 0, replace(SLOW, spill_over=False), Reason.EFFORT, id="it may not"),
        pytest.param(50_000, 0, replace(SLOW, targets={}), Reason.EFFORT, id="there are no targets"),
    ],
)
def test_spill_over(effort: Effort, home_tokens: int, away_tokens: int, rules: Rules, reason: Reason) -> None:
    """Both ways: a request leaves home when home is too late for it and another pool is sooner by enough."""
    other = Effort.HIGH if effort is Effort.NONE else Effort.NONE
    home = PoolSnapshot("home", frozenset({effort}), (backlog("h", home_tokens),))
    away = PoolSnapshot("away", frozenset({other}), (backlog("a", away_tokens),))
    decision = decide(RequestFeatures(effort, max_tokens=1), (home, away), rules, Random(0))
    assert decision.reason is reason
    assert decision.pool == ("away" if reason is Reason.SPILL_OVER else "home")


def test_spill_over_has_hysteresis() -> None:
    """Once requests leave, they go on leaving until home meets its targets with room to spare."""
    policy = Policy(SLOW, {}, Random(0))

    def reason(home_tokens: int, away_tokens: int = 0) -> Reason:
        pools = (
            replace(throughput(), replicas=(backlog("t1", home_tokens),)),
            replace(latency(), replicas=(backlog("l1", away_tokens),)),
        )
        return policy.decide(RequestFeatures(Effort.NONE, max_tokens=1), pools, NOW_S).reason

    almost = 9_000  # 0.92 s to the first token
    assert reason(almost) is Reason.EFFORT
    assert reason(20_000) is Reason.SPILL_OVER
    assert reason(almost) is Reason.SPILL_OVER
    assert reason(20_000, 19_000) is Reason.SPILL_OVER, "no margin is asked for a second time"
    assert reason(7_000) is Reason.EFFORT
    assert reason(almost) is Reason.EFFORT


@pytest.mark.parametrize(
    ("load", "reason"), [(3, Reason.SPILL_OVER), (4, Reason.EFFORT), (99, Reason.EFFORT)]
)
def test_the_floor_for_high(load: int, reason: Reason) -> None:
    """Requests at none take the latency pool's places only down to its floor, half of them."""
    busy = replace(throughput(), replicas=(backlog("t1", 90_000),))
    pools = (busy, places(latency(("l1", load, FRESH)), 8))
    assert decide(RequestFeatures(Effort.NONE, max_tokens=1), pools, SLOW, Random(0)).reason is reason


def test_the_floor_holds_when_home_is_down() -> None:
    """Also when there is nobody else: then there is no replica for it."""
    pools = (throughput(), places(latency(("l1", 4, FRESH)), 8))
    with pytest.raises(NoReplica):
        decide(NONE, pools, SLOW, Random(0))
    assert decide(HIGH, pools, SLOW, Random(0)).pool == "latency"


PREFER = Rules(
    prefer=(
        Preference(("latency",), shapes=frozenset({Shape.TOOLS})),
        Preference(("throughput",), frozenset({Effort.HIGH}), min_prompt_tokens=1000),
    )
)


@pytest.mark.parametrize(
    ("features", "rules", "pool", "reason"),
    [
        (replace(NONE, has_tools=True), PREFER, "latency", Reason.SHAPE),
        (replace(HIGH, prompt_tokens=1000), PREFER, "throughput", Reason.SHAPE),
        (replace(HIGH, prompt_tokens=999), PREFER, "latency", Reason.EFFORT),
        (NONE, PREFER, "throughput", Reason.EFFORT),
        (
            replace(HIGH, has_schema=True),
            Rules(avoid_speculation=frozenset({Shape.SCHEMA})),
            "throughput",
            Reason.SHAPE,
        ),
        (replace(HIGH, prompt_tokens=900, max_tokens=101), RULES, "throughput", Reason.LENGTH),
        (replace(HIGH, prompt_tokens=900, max_tokens=100), RULES, "latency", Reason.EFFORT),
        (replace(HIGH, prompt_tokens=4500), RULES, "throughput", Reason.LENGTH),
        (replace(HIGH, prompt_tokens=10_000), RULES, "latency", Reason.EFFORT),
    ],
)
def test_shape_and_length(features: RequestFeatures, rules: Rules, pool: str, reason: Reason) -> None:
    """The first preference that covers a request is its home; what is too long goes where it fits."""
    pools = (
        replace(throughput(("t1", 0, FRESH)), max_model_len=5000),
        replace(speculating(latency(("l1", 0, FRESH))), max_model_len=4000, draft_max_len=1000),
    )
    decision = decide(features, pools, rules, Random(0))
    assert (decision.pool, decision.reason) == (pool, reason)


def test_an_effort_that_changes() -> None:
    """The session moves to the other effort's pool, unless what is cached where it was saves more."""
    policy = Policy(replace(RULES, targets={}), {}, Random(0))
    pools = (throughput(("t1", 0, FRESH)), latency(("l1", 0, FRESH)))
    head, turns = Block(1, 20_000), Block(2, 21_000)
    first = RequestFeatures(Effort.NONE, prompt_tokens=21_000, blocks=(head, turns), session="s")
    assert policy.decide(first, pools, NOW_S).replica == "t1"

    # The effort stands between the tools and the first turn: what is before it stays cached.
    second = replace(first, effort=Effort.HIGH, blocks=(head, Block(3, 21_000)), max_tokens=100)
    decision = policy.decide(second, pools, NOW_S)
    assert (decision.replica, decision.reason) == ("t1", Reason.CACHED)

    short = RequestFeatures(Effort.NONE, prompt_tokens=600, blocks=(Block(4, 500),), session="s2")
    assert policy.decide(short, pools, NOW_S).replica == "t1"
    moved = policy.decide(replace(short, effort=Effort.HIGH), pools, NOW_S)
    assert (moved.replica, moved.reason) == ("l1", Reason.EFFORT)


def test_a_conversation_stays_where_it_is_cached() -> None:
    """Of equal replicas the one that had the turns before gets the next one."""
    policy = Policy(RULES, {}, Random(3))
    pools = (throughput(*((f"t{i}", 0, FRESH) for i in range(8))),)
    first = RequestFeatures(Effort.NONE, prompt_tokens=2000, blocks=(Block(1, 1000), Block(2, 2000)))
    home = policy.decide(first, pools, NOW_S).replica
    longer = replace(first, prompt_tokens=3000, blocks=(*first.blocks, Block(3, 3000)))
    assert {policy.decide(longer, pools, NOW_S).replica for _ in range(20)} == {home}


@st.composite
def situations(draw: st.DrawFn) -> tuple[tuple[PoolSnapshot, ...], Rules, frozenset[str]]:
    """Up to three pools of up to four replicas in any state, rules, and some replicas that were tried.

    As the settings demand, every effort has a pool, or there are no pools at all.
    """
    efforts = st.frozensets(st.sampled_from(Effort), min_size=1)
    share, seconds = st.floats(0, 1), st.none() | st.floats(0.001, 10)

    def reported(name: str) -> ReplicaSnapshot:
        report = ReplicaReport(
            name,
            draw(st.integers(0, 20)),
            kv_usage=draw(share),
            prefill_tokens=draw(st.integers(0, 100_000)),
            batch_size=draw(st.none() | st.floats(0.5, 100)),
            per_token_s=draw(seconds),
            prefill_s=draw(seconds),
            prefill_mean_tokens=draw(st.none() | st.floats(0, 5000)),
            acceptance=draw(st.sampled_from([(), (0.5, 0.2)])),
            draft_tokens=draw(st.integers(0, 3)),
            is_draining=draw(st.booleans()),
        )
        return ReplicaSnapshot(report, NOW_S - draw(st.floats(0, 4)), draw(st.integers(0, 3)))

    pools = tuple(
        PoolSnapshot(
            name,
            draw(efforts),
            tuple(reported(f"{name}{i}") for i in range(draw(st.integers(0, 4)))),
            draw(st.booleans()),
            draw(st.integers(1, 16)),
            draw(st.none() | st.integers(1, 2000)),
            draw(st.none() | st.integers(1, 2000)),
        )
        for name in "abc"[: draw(st.integers(0, 3))]
    )
    assume(not pools or frozenset().union(*(p.efforts for p in pools)) == set(Effort))
    names = [r.replica for p in pools for r in p.replicas]
    tried = draw(st.frozensets(st.sampled_from(names))) if names else frozenset()
    targets = Targets(draw(seconds), draw(seconds), draw(seconds))
    rules = Rules(draw(st.booleans()), 2.0, targets=dict.fromkeys(Effort, targets))
    return pools, rules, tried


@st.composite
def requests(draw: st.DrawFn) -> RequestFeatures:
    """Any request."""
    return RequestFeatures(
        draw(st.sampled_from(Effort)),
        draw(st.sampled_from([(), ("min_p",)])),
        prompt_tokens=draw(st.integers(0, 3000)),
        max_tokens=draw(st.none() | st.integers(0, 1000)),
        blocks=tuple(Block(draw(st.integers(0, 3)), 100 * (i + 1)) for i in range(draw(st.integers(0, 3)))),
        session=draw(st.none() | st.sampled_from("xy")),
    )


@given(situations(), st.lists(requests(), min_size=1, max_size=4), st.integers(0, 2**32))
def test_every_decision(
    situation: tuple[tuple[PoolSnapshot, ...], Rules, frozenset[str]],
    wanted: list[RequestFeatures],
    seed: int,
) -> None:
    """Same seed, same decisions; never silent, draining or tried; no guest takes a place below a floor.

    And there is a decision whenever an available replica at home is able.
    """
    pools, rules, tried = situation
    policies = [Policy(rules, {}, Random(seed)) for _ in range(2)]
    for features in wanted:
        first, second = (outcome(policy, features, pools, tried) for policy in policies)
        assert first == second
        able = [p for p in pools if not (features.plain_decoding and p.speculates)]
        home = [p for p in able if features.effort in p.efforts]
        if not isinstance(first, Decision):
            fit = [p for p in home if too_long(p, features) is None]
            assert first == "InvalidRequest" or not any(healthy(p, rules, NOW_S, tried) for p in fit)
            continue
        pool = next(p for p in pools if p.name == first.pool)
        chosen = next(r for r in pool.replicas if r.replica == first.replica)
        assert pool in able
        assert chosen in healthy(pool, rules, NOW_S, tried)
        if features.effort not in pool.efforts:
            assert rules.spill_over or not home or first.reason is Reason.LENGTH
            if Effort.HIGH in pool.efforts:
                assert chosen.load + 1 <= pool.max_num_seqs * 0.5
        if first.reason is Reason.SPILL_OVER:
            assert first.predicted is not None


def outcome(
    policy: Policy, features: RequestFeatures, pools: tuple[PoolSnapshot, ...], tried: Collection[str]
) -> Decision | str:
    """Return the decision, or the name of the error."""
    try:
        return policy.decide(features, pools, NOW_S, tried)
    except (NoReplica, InvalidRequest) as error:
        return type(error).__name__
