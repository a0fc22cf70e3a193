"""The routing policy, case by case, and what holds for every case."""

from collections.abc import Collection
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serve_app.errors import InvalidRequest, NoReplica
from serve_app.router.policy import Policy, healthy, least_loaded
from serve_app.types import (
    Decision,
    Effort,
    PoolSnapshot,
    Reason,
    ReplicaReport,
    ReplicaSnapshot,
    RequestFeatures,
    Rules,
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


def test_equals_are_drawn_by_lot() -> None:
    """Equally loaded replicas share the requests, and a loaded one gets none."""
    replicas = [replica("a", 1, 0), replica("b", 1, 0), replica("c", 2, 0)]
    rng = Random(0)
    drawn = [least_loaded(replicas, rng).replica for _ in range(200)]
    assert 60 < drawn.count("a") < 140
    assert drawn.count("a") + drawn.count("b") == 200


def test_healthy_keeps_order() -> None:
    """The filter drops the stale and the tried, and nothing else."""
    some = throughput(("a", 0, FRESH), ("b", 0, STALE), ("c", 0, FRESH), ("d", 0, FRESH))
    assert [r.replica for r in healthy(some, RULES, NOW_S, {"c"})] == ["a", "d"]


@st.composite
def situations(draw: st.DrawFn) -> tuple[tuple[PoolSnapshot, ...], Rules, frozenset[str]]:
    """Up to three pools of up to four replicas, rules, and some replicas that were tried.

    As the settings demand, every effort has a pool, or there are no pools at all.
    """
    efforts = st.frozensets(st.sampled_from(Effort), min_size=1)
    loads, ages = st.integers(0, 3), st.floats(0, 4)
    pools = tuple(
        PoolSnapshot(
            name,
            draw(efforts),
            tuple(replica(f"{name}{i}", draw(loads), draw(ages)) for i in range(draw(st.integers(0, 4)))),
        )
        for name in "abc"[: draw(st.integers(0, 3))]
    )
    assume(not pools or frozenset().union(*(p.efforts for p in pools)) == set(Effort))
    names = [r.replica for p in pools for r in p.replicas]
    tried = draw(st.frozensets(st.sampled_from(names))) if names else frozenset()
    return pools, Rules(draw(st.booleans()), 2.0), tried


@given(situations(), st.sampled_from(Effort), st.integers(0, 2**32))
def test_every_decision(
    situation: tuple[tuple[PoolSnapshot, ...], Rules, frozenset[str]], effort: Effort, seed: int
) -> None:
    """Whatever the pools look like: same seed, same decision; never stale or tried; home beats away."""
    pools, rules, tried = situation
    usable = {
        (p.name, r.replica): (p, r)
        for p in pools
        for r in p.replicas
        if NOW_S - r.reported_at_s <= rules.max_age_s and r.replica not in tried
    }
    home = {key for key, (p, _) in usable.items() if effort in p.efforts}
    allowed = home or (set(usable) if rules.spill_over else set())
    try:
        decision = decide(RequestFeatures(effort), pools, rules, Random(seed), tried)
    except NoReplica:
        assert not allowed
        return
    chosen = decision.pool, decision.replica

    assert chosen in allowed
    assert usable[chosen][1].load == min(usable[key][1].load for key in allowed)
    assert (decision.reason is Reason.NO_HEALTHY_REPLICA) == (not home)
    assert decide(RequestFeatures(effort), pools, rules, Random(seed), tried) == decision
