"""Admission: who goes now, who waits, who is refused, and when is the next one's turn?"""

from dataclasses import replace

import pytest

from serve_app.errors import (
    DeadlineUnreachable,
    Displaced,
    FloorKept,
    NoReplica,
    QueueFull,
)
from serve_app.router.admission import ABSENT_PATIENCE_S
from serve_app.router.admission_queue import Waiting
from serve_app.rules import Admission as RuledAdmission
from serve_app.rules import Rules
from serve_app.types import Decision, Effort, Reason, ReplicaReport
from tests.serve_app.router.small import PLACES, RULES, Small
from tests.serve_app.router.states import HIGH, NONE, NOW_S


def full(**settings: object) -> Small:
    """Return pools with every place taken."""
    small = Small(**settings)  # type: ignore[arg-type]
    small.held = dict.fromkeys(small.held, PLACES)
    return small


def test_a_place_is_free() -> None:
    """Then nobody waits; the one after the last place does."""
    small = Small(Rules(max_age_s=float("inf"), targets={}, spill_over=False))
    assert [small.offer(i).waits for i in range(6)] == [False] * 4 + [True] * 2
    assert small.turns("throughput") == []


def test_a_place_comes_free() -> None:
    """The first that waits gets it, decided about anew."""
    small = full()
    small.offer(1)
    small.offer(2)
    small.end("throughput")
    assert small.turns("throughput") == [(1, Decision("throughput", "throughput-1", Reason.EFFORT))]


def test_nobody_overtakes_who_waits() -> None:
    """A request that comes while others wait joins them, though a place has just come free."""
    small = full()
    small.offer(1)
    small.end("throughput")
    assert small.offer(2).waits
    assert [ticket for ticket, _ in small.turns("throughput")] == [1]


def test_what_takes_no_place_never_waits() -> None:
    """Counting tokens is answered whatever the engines do."""
    small = full()
    small.offer(1)
    assert not small.offer(2, replace(NONE, generates=False)).waits


def test_the_queue_counts_in_predictions() -> None:
    """Home is late by those that wait before a request, so that it leaves; the first ones stay."""
    rules = Rules(max_age_s=float("inf"), floors={}, answer_tokens=dict.fromkeys(Effort, 10))
    small = full(rules=rules, max_queued=100)
    small.held["latency"] = 0
    decisions = [small.offer(i) for i in range(30)]
    assert decisions[0].waits
    away = [d for d in decisions if d.reason is Reason.SPILL_OVER]
    assert 0 < len(away) <= PLACES
    assert {d.pool for d in away} == {"latency"}
    # 100 tokens of 10 ms over four places: a turn takes a quarter of a second, the target is 5 s.
    assert len(small.admission.queues["throughput"]) == pytest.approx(20, abs=2 + len(away))


def test_what_waits_elsewhere_counts_too() -> None:
    """Home is late by those that wait at other ingress replicas; who is first here waits for none of them."""
    rules = Rules(max_age_s=float("inf"), floors={}, answer_tokens=dict.fromkeys(Effort, 10))
    small = full(rules=rules, max_queued=100)
    small.held["latency"] = 0
    small.queued_elsewhere["throughput"] = 19
    assert small.offer(1).waits
    small.queued_elsewhere["throughput"] = 60
    assert small.offer(2).reason is Reason.SPILL_OVER
    assert small.turns("throughput") == []
    small.end("throughput")
    assert small.turns("throughput") == [(1, Decision("throughput", "throughput-1", Reason.EFFORT))]


def test_a_full_queue() -> None:
    """The newcomer is refused with the number and the pool, and when to come back by what has drained."""
    small = full(max_queued=2)
    for i in range(41):
        small.admission.ended("throughput", NOW_S - 10 + i / 4)
    small.offer(1)
    small.offer(2)
    with pytest.raises(QueueFull, match="2 requests wait for pool 'throughput', and no more may") as refused:
        small.offer(3)
    assert refused.value.headers == {"retry-after": "1"}
    assert "come back in 1 s" in refused.value.message


def test_none_is_shed_before_high() -> None:
    """In a pool of both efforts the newest none leaves for a high; with `first: none`, it is a high."""
    for first, leaving in ((Effort.HIGH, [3, 5]), (Effort.NONE, [4, 1]), (None, [4, 5])):
        rules = replace(RULES, admission=RuledAdmission(first=first))
        small = full(rules=rules, max_queued=3)
        small.efforts, small.down = dict.fromkeys(small.efforts, frozenset(Effort)), {"latency"}
        left = []
        for ticket, features in enumerate((HIGH, NONE, NONE, HIGH, NONE), 1):
            try:
                small.offer(ticket, features)
            except QueueFull:
                left.append(ticket)
            else:
                left += [small.left.waiting.ticket] if small.left else []
        assert left == leaving


def test_displaced() -> None:
    """Who leaves a full queue is told so."""
    small = full(max_queued=1)
    small.offer(1)
    small.offer(2, replace(NONE, priority=1))
    assert small.left is not None
    assert small.left.waiting.ticket == 1
    assert isinstance(small.left.outcome, Displaced)
    assert "more important" in small.left.outcome.message


def test_a_deadline_that_cannot_be_met() -> None:
    """It is refused at once, with what is predicted and for how long the client waits."""
    small = full()
    small.measured = replace(small.measured, answer_tokens=1000.0)
    with pytest.raises(DeadlineUnreachable, match=r"predicted to take 2\.\d s .* client waits for 2\.0 s"):
        small.offer(1, replace(NONE, first_token_deadline_s=NOW_S + 2))
    assert small.offer(2, replace(NONE, first_token_deadline_s=NOW_S + 4)).waits


def test_a_deadline_that_another_pool_meets() -> None:
    """Then it goes there."""
    small = Small(replace(RULES, floors={}))
    small.held["throughput"] = PLACES
    small.measured = replace(small.measured, answer_tokens=1000.0)
    decision = small.offer(1, replace(NONE, first_token_deadline_s=NOW_S + 2))
    assert (decision.pool, decision.reason) == ("latency", Reason.SPILL_OVER)


def test_an_answer_whose_length_nobody_knows() -> None:
    """What is merely guessed refuses nobody: before any answer has ended, the first token alone counts."""
    small = Small()
    soon = replace(NONE, deadline_s=NOW_S + 0.5)
    small.measured = ReplicaReport("")
    assert not small.offer(1, soon).waits
    small.measured = ReplicaReport("", batch_size=1, per_token_s=0.01, answer_tokens=100.0)
    with pytest.raises(DeadlineUnreachable, match="the answer is predicted to take"):
        small.offer(2, soon)
    assert not small.offer(3, replace(soon, max_tokens=5)).waits


def test_a_deadline_that_passes_in_the_queue() -> None:
    """It is refused as soon as somebody looks, wherever it stands."""
    small = full()
    small.offer(1)
    small.offer(2, replace(NONE, first_token_deadline_s=NOW_S + 20))
    ((ticket, error),) = small.turns("throughput", NOW_S + 21)
    assert ticket == 2
    assert isinstance(error, DeadlineUnreachable)
    assert "waited 21.0 s" in error.message


def test_a_pool_that_is_away_for_a_moment() -> None:
    """Whoever waits goes on waiting; for longer, and it goes elsewhere as far as floors allow."""
    small = full(max_queued=10)
    small.held["latency"] = PLACES // 2 - 1
    for i in range(3):
        small.offer(i)
    small.down = {"throughput"}
    assert [(t, d.pool) for t, d in small.turns("throughput") if isinstance(d, Decision)] == [(0, "latency")]
    later = small.turns("throughput", NOW_S + ABSENT_PATIENCE_S)
    assert [ticket for ticket, _ in later] == [1, 2]
    assert all(isinstance(error, FloorKept) for _, error in later)

    small = full()
    small.offer(1)
    small.down = {"throughput", "latency"}
    assert small.turns("throughput") == []
    small.down = set()
    small.end("throughput")
    assert [ticket for ticket, _ in small.turns("throughput", NOW_S + 5)] == [1]


def test_the_last_pool_is_gone() -> None:
    """Then there is no replica, for whoever comes and, a little later, for whoever waits."""
    small = full()
    small.offer(1)
    small.down = {"throughput", "latency"}
    with pytest.raises(NoReplica):
        small.offer(2)
    assert small.turns("throughput") == []
    ((_, error),) = small.turns("throughput", NOW_S + ABSENT_PATIENCE_S)
    assert isinstance(error, NoReplica)


def test_withdrawn() -> None:
    """Whose client has left gets no turn."""
    small = full()
    gone = Waiting(NONE, NOW_S, 1)
    small.admission.offer(gone, small.pools(), NOW_S)
    small.offer(2)
    small.admission.withdraw(gone)
    small.end("throughput")
    assert [ticket for ticket, _ in small.turns("throughput")] == [2]
