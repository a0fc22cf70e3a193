"""An explanation is the policy's own decision: the same parts, the same end."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.router.explanation import explain
from serve_app.router.policy import Policy
from serve_app.rules import Rules
from serve_app.types import PoolSnapshot, RequestFeatures
from tests.serve_app.router.states import HIGH, NONE, NOW_S, RULES, STALE, latency, speculating, throughput

POOLS = (
    throughput(("t1", 4, 0.5), ("t2", 0, STALE), ("t3", 9, 0.5)),
    replace(latency(("l1", 0, 0.5), ("l2", 3, 0.5)), max_num_seqs=6),
)


@given(st.sampled_from([NONE, HIGH]), st.sampled_from([(), ("t1",), ("l1", "l2")]), st.integers(0, 2**32))
def test_it_ends_in_the_decision(features: RequestFeatures, tried: tuple[str, ...], seed: int) -> None:
    """With the same seed `decide` does what `explain` says, to a replica that no filter dropped."""
    said = explain(Policy(RULES, {}, Random(seed)), features, POOLS, NOW_S, tried)
    assert said.decision == Policy(RULES, {}, Random(seed)).decide(features, POOLS, NOW_S, tried)
    assert said.decision is not None
    chosen = next(one for one in said.replicas if one.replica == said.decision.replica)
    assert chosen.dropped_by is None
    assert chosen.predicted == said.decision.predicted


def test_each_replica_once() -> None:
    """Every replica of every pool that may have the request has one line, those dropped say by what."""
    said = explain(Policy(RULES, {}, Random(0)), NONE, POOLS, NOW_S, ("t1",))
    assert {one.replica: one.dropped_by for one in said.replicas} == {
        "t1": "tried",
        "t2": "silent",
        "t3": None,
        "l1": None,
        "l2": "floor",
    }
    for one in said.replicas:
        assert (one.score is None) == (one.scores is None) == (one.dropped_by is not None)


@pytest.mark.parametrize(
    ("pools", "refusal"),
    [
        (tuple(speculating(pool) for pool in POOLS), "min_p: not available with speculation"),
        ((replace(POOLS[0], replicas=()),), "no healthy replica"),
    ],
)
def test_no_decision(pools: tuple[PoolSnapshot, ...], refusal: str) -> None:
    """A request that is refused says with which words."""
    said = explain(Policy(Rules(), {}, Random(0)), replace(NONE, plain_decoding=("min_p",)), pools, NOW_S)
    assert said.decision is None
    assert said.refusal is not None
    assert said.refusal.startswith(refusal)
