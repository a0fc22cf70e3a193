"""The routing policy: which pools are home, what is left of them, and what is then picked."""

from dataclasses import replace
from random import Random

import pytest

from serve_app.errors import InvalidRequest, NoReplica
from serve_app.rules import Preference, Rules
from serve_app.types import Decision, Effort, PoolSnapshot, Reason, RequestFeatures, Shape
from tests.serve_app.router.states import (
    FRESH,
    HIGH,
    HOME_ONLY,
    NONE,
    RULES,
    STALE,
    decide,
    latency,
    pool,
    speculating,
    throughput,
)


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
        ((throughput(("t1", 0, FRESH)), latency()), HOME_ONLY, (), "latency: 0, throughput: 1"),
        ((throughput(("t1", 0, STALE)), latency(("l1", 0, STALE))), RULES, (), "latency: 0, throughput: 0"),
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
                replace(speculating(latency(("l1", 9, FRESH))), biases_drafts=True),
            ),
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
    """A request that an engine with drafts does not honour goes where it is, at home if possible."""
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


def test_a_preference_that_cannot_be_met() -> None:
    """Where the preferred pool may not have the request, its effort's pools are home as ever."""
    pools = (throughput(("t1", 0, FRESH)), speculating(latency(("l1", 0, FRESH))))
    features = replace(NONE, has_tools=True, plain_decoding=("min_p",))
    decision = decide(features, pools, PREFER, Random(0))
    assert (decision.pool, decision.reason) == ("throughput", Reason.EFFORT)
