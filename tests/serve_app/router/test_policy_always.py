"""The routing policy: what holds for every request, whatever the pools look like."""

from collections.abc import Collection
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from serve_app.errors import ApiError
from serve_app.router.filters import awaited, full, healthy, reachable, too_long
from serve_app.router.policy import Policy
from serve_app.rules import Rules, Targets
from serve_app.types import (
    Block,
    Decision,
    Effort,
    PoolSnapshot,
    Reason,
    ReplicaReport,
    ReplicaSnapshot,
    RequestFeatures,
)
from tests.serve_app.router.states import NOW_S


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
        return ReplicaSnapshot(
            report, NOW_S - draw(st.floats(0, 4)), draw(st.integers(0, 3)), 0, draw(st.booleans())
        )

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
    rules = Rules(
        draw(st.booleans()), 2.0, draw(st.sampled_from([2.0, 3.0])), targets=dict.fromkeys(Effort, targets)
    )
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
        first_token_deadline_s=draw(st.none() | st.floats(NOW_S, NOW_S + 20)),
    )


@given(situations(), st.lists(requests(), min_size=1, max_size=4), st.integers(0, 2**32))
def test_every_decision(
    situation: tuple[tuple[PoolSnapshot, ...], Rules, frozenset[str]],
    wanted: list[RequestFeatures],
    seed: int,
) -> None:
    """Same seed, same decisions; never silent, draining, broken or tried; no guest goes below a floor.

    There is a decision whenever an available replica at home is able, to wait only where all are full, and
    never for an answer that is predicted to come too late. Who finds nobody waits where one is just silent.
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
            if first not in ("InvalidRequest", "DeadlineUnreachable"):
                assert not any(reachable(p, rules, NOW_S, tried) for p in fit)
            # What is kept for others is only ever spoken of where there is something to keep.
            assert first != "FloorKept" or any(healthy(p, rules, NOW_S, tried) for p in able)
            continue
        pool = next(p for p in pools if p.name == first.pool)
        chosen = next(r for r in pool.replicas if r.replica == first.replica)
        assert pool in able
        if first.predicted is None:
            assert first.waits
            assert awaited(chosen, rules, NOW_S, tried)
            assert not any(healthy(p, rules, NOW_S, tried) for p in home if too_long(p, features) is None)
            continue
        assert chosen in healthy(pool, rules, NOW_S, tried)
        assert not chosen.is_broken
        assert first.waits == (full(chosen, pool, rules) is not None)
        if first.waits and features.effort in pool.efforts:
            assert all(full(r, pool, rules) for r in healthy(pool, rules, NOW_S, tried))
        if features.first_token_deadline_s is not None:
            assert NOW_S + first.predicted.ttft_s <= features.first_token_deadline_s
        if features.effort not in pool.efforts:
            assert rules.spill_over or not home or first.reason is Reason.LENGTH
            if Effort.HIGH in pool.efforts:
                assert chosen.load + 1 <= pool.max_num_seqs * 0.5


def outcome(
    policy: Policy, features: RequestFeatures, pools: tuple[PoolSnapshot, ...], tried: Collection[str]
) -> Decision | str:
    """Return the decision, or the name of the error."""
    try:
        return policy.decide(features, pools, NOW_S, tried)
    except ApiError as error:
        return type(error).__name__
