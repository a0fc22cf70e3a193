"""The routing policy: when a request leaves home, and when it stays where it is cached."""

from dataclasses import replace
from random import Random

import pytest

from serve_app.errors import FloorKept
from serve_app.router.policy import Policy
from serve_app.rules import Rules, Targets
from serve_app.types import (
    Block,
    Effort,
    PoolSnapshot,
    Reason,
    ReplicaReport,
    ReplicaSnapshot,
    RequestFeatures,
)
from tests.serve_app.router.states import (
    FRESH,
    HIGH,
    NONE,
    NOW_S,
    RULES,
    decide,
    latency,
    throughput,
)

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
        pytest.param(50_000, 0, SLOW, Reason.SPILL_OVER, id="home misses them, another one does not"),
        pytest.param(50_000, 45_000, SLOW, Reason.EFFORT, id="not by enough less"),
        pytest.param(50_000, 60_000, SLOW, Reason.EFFORT, id="by more"),
        pytest.param(50_000, 0, replace(SLOW, spill_over=False), Reason.EFFORT, id="it may not"),
        pytest.param(50_000, 0, replace(SLOW, targets={}), Reason.EFFORT, id="there are no targets"),
    ],
)
def test_spill_over(effort: Effort, home_tokens: int, away_tokens: int, rules: Rules, reason: Reason) -> None:
    """Both ways: a request leaves home when home misses the targets, and another pool by enough less."""
    other = Effort.HIGH if effort is Effort.NONE else Effort.NONE
    home = PoolSnapshot("home", frozenset({effort}), (backlog("h", home_tokens),))
    away = PoolSnapshot("away", frozenset({other}), (backlog("a", away_tokens),))
    decision = decide(RequestFeatures(effort, max_tokens=1), (home, away), rules, Random(0))
    assert decision.reason is reason
    assert decision.pool == ("away" if reason is Reason.SPILL_OVER else "home")


@pytest.mark.parametrize(
    ("home_tokens", "reason"), [(15_000, Reason.EFFORT), (25_000, Reason.EFFORT), (35_000, Reason.SPILL_OVER)]
)
def test_the_pool_that_misses_less(home_tokens: int, reason: Reason) -> None:
    """Home is fast and busy, the other pool free and 2.4 times slower than it should be."""
    targets = Targets(ttft_s=1.0, per_token_s=0.0125)
    home = ReplicaReport("l", prefill_tokens=home_tokens, per_token_s=0.01, batch_size=1)
    away = ReplicaReport("t", per_token_s=0.03, batch_size=1)
    pools = (
        replace(latency(), replicas=(ReplicaSnapshot(home, NOW_S),)),
        replace(throughput(), replicas=(ReplicaSnapshot(away, NOW_S),)),
    )
    rules = Rules(targets={Effort.HIGH: targets})
    assert decide(HIGH, pools, rules, Random(0)).reason is reason


def test_spill_over_has_hysteresis() -> None:
    """Once requests leave, they go on leaving until home meets its targets with room to spare."""
    policy = Policy(SLOW, {}, Random(0))

    def reason(home_tokens: int, away_tokens: int = 0) -> Reason:
        pools = (
            replace(throughput(), replicas=(backlog("t1", home_tokens),)),
            replace(latency(), replicas=(backlog("l1", away_tokens),)),
        )
        return policy.decide(RequestFeatures(Effort.NONE, max_tokens=1), pools, NOW_S).reason

    almost = 9_000  # 0.9 s to wait
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
    """Also when there is nobody else: then the refusal says what is kept, and in which pool."""
    pools = (throughput(), places(latency(("l1", 4, FRESH)), 8))
    with pytest.raises(FloorKept, match="'latency' takes at most 4 of its 8 requests from elsewhere"):
        decide(NONE, pools, SLOW, Random(0))
    assert decide(HIGH, pools, SLOW, Random(0)).pool == "latency"


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


def test_a_long_prompt_is_no_reason_to_leave() -> None:
    """What reading it takes, it takes anywhere: only the wait before it can be saved."""
    pools = (replace(throughput(), replicas=(backlog("t1", 100),)), latency(("l1", 0, FRESH)))
    features = RequestFeatures(Effort.NONE, prompt_tokens=100_000, max_tokens=1)
    decision = decide(features, pools, SLOW, Random(0))
    assert decision.reason is Reason.EFFORT
    assert decision.predicted is not None
    assert decision.predicted.ttft_s > 10


@pytest.mark.parametrize("efforts", [frozenset({Effort.NONE}), frozenset[Effort]()], ids=["home", "overflow"])
def test_without_a_home_a_request_waits_where_all_places_are_taken(efforts: frozenset[Effort]) -> None:
    """The only pool that takes its length is full, and keeps nothing free for others."""
    big = PoolSnapshot("big", efforts, (ReplicaSnapshot(ReplicaReport("t1", 4), NOW_S),), max_num_seqs=4)
    short = replace(latency(("l1", 0, FRESH)), max_model_len=1000)
    decision = decide(replace(HIGH, prompt_tokens=5000), (big, short), RULES, Random(0))
    assert (decision.pool, decision.reason, decision.waits) == ("big", Reason.LENGTH, True)


def test_home_is_in_time_where_leaving_it_is_not() -> None:
    """The prompt is cached at home, and would have to be read elsewhere."""
    measured = ReplicaReport(
        "", per_token_s=0.02, batch_size=1, prefill_s=10, prefill_mean_tokens=100_000, answer_tokens=100
    )

    def pools(backlog: int) -> list[PoolSnapshot]:
        away, home = replace(measured, replica="t1"), replace(measured, replica="l1", prefill_tokens=backlog)
        return [
            PoolSnapshot("throughput", frozenset({Effort.NONE}), (ReplicaSnapshot(away, NOW_S),)),
            PoolSnapshot("latency", frozenset({Effort.HIGH}), (ReplicaSnapshot(home, NOW_S),)),
        ]

    asked = RequestFeatures(Effort.HIGH, prompt_tokens=100_000, max_tokens=100, blocks=(Block(1, 100_000),))
    policy = Policy(Rules(), {}, Random(0))
    assert policy.decide(asked, pools(0), NOW_S).pool == "latency"
    hurried = replace(asked, first_token_deadline_s=NOW_S + 5)
    assert policy.decide(hurried, pools(22_000), NOW_S).pool == "latency"


def test_those_ahead_are_served_by_who_serves() -> None:
    """Replicas that drain take none of the queue."""

    def wait_s(*draining: str) -> float:
        measured = ReplicaReport("a", 4, per_token_s=0.02, batch_size=8, answer_tokens=300)
        rest = (replace(measured, replica=name, is_draining=True) for name in draining)
        replicas = tuple(ReplicaSnapshot(report, NOW_S) for report in (measured, *rest))
        pool = PoolSnapshot("throughput", frozenset({Effort.NONE}), replicas, max_num_seqs=4)
        policy = Policy(replace(RULES, spill_over=False), {}, Random(0))
        predicted = policy.decide(NONE, [pool], NOW_S, ahead={"throughput": 40}).predicted
        assert predicted is not None
        return predicted.wait_s

    assert wait_s("b", "c", "d") == wait_s() > 0


def test_several_answers_of_one_request_take_as_many_places() -> None:
    """Seven chats of eight answers each: the next one waits, and the floor is kept from guests."""
    report = ReplicaReport("l1", num_ongoing=7, num_running=8, num_waiting=48)
    pool = PoolSnapshot(
        "latency", frozenset({Effort.HIGH}), (ReplicaSnapshot(report, NOW_S),), max_num_seqs=8
    )
    assert decide(HIGH, (pool,), RULES, Random(0)).waits
    with pytest.raises(FloorKept):
        decide(NONE, (throughput(), pool), Rules(), Random(0))
