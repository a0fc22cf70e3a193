"""Admission: who goes now, who waits, who is refused, and when is the next one's turn?"""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.errors import (
    ApiError,
    DeadlineUnreachable,
    Displaced,
    FloorKept,
    NoReplica,
    QueueFull,
)
from serve_app.router.admission import ABSENT_PATIENCE_S, Admission
from serve_app.router.admission_queue import Waiting
from serve_app.router.policy import Policy
from serve_app.rules import Admission as RuledAdmission
from serve_app.rules import Rules
from serve_app.types import Decision, Effort, PoolSnapshot, Reason, ReplicaReport, ReplicaSnapshot
from serve_app.types import RequestFeatures as Features
from tests.serve_app.router.states import HIGH, NONE, NOW_S

RULES = Rules(max_age_s=float("inf"), targets={})
PLACES = 4


class Small:
    """A throughput and a latency pool of one replica of four places each, and who has them."""

    def __init__(self, rules: Rules = RULES, max_queued: int = 10, seed: int = 0) -> None:
        self.held = {"throughput": 0, "latency": 0}
        self.efforts = {"throughput": frozenset({Effort.NONE}), "latency": frozenset({Effort.HIGH})}
        self.down: set[str] = set()
        self.measured = ReplicaReport("", batch_size=4, per_token_s=0.01, answer_tokens=100.0)
        queued = dict.fromkeys(self.held, max_queued)
        self.admission = Admission[int](Policy(rules, {}, Random(seed)), queued)

    def pools(self) -> list[PoolSnapshot]:
        """Return what is known of the pools."""
        return [
            PoolSnapshot(
                name,
                self.efforts[name],
                ()
                if name in self.down
                else (ReplicaSnapshot(replace(self.measured, replica=f"{name}-1", num_ongoing=number)),),
                max_num_seqs=PLACES,
            )
            for name, number in self.held.items()
        ]

    def offer(self, ticket: int, features: Features = NONE, now_s: float = NOW_S) -> Decision:
        """Offer a request, and take its place if it gets one."""
        decision, self.left = self.admission.offer(Waiting(features, now_s, ticket), self.pools(), now_s)
        if not decision.waits:
            self.held[decision.pool] += 1
        return decision

    def turns(self, pool: str, now_s: float = NOW_S) -> list[tuple[int, Decision | ApiError]]:
        """Let everybody go whose turn it is."""
        found = []
        while turn := self.admission.next_turn(pool, self.pools(), now_s):
            if isinstance(turn.outcome, Decision):
                self.held[turn.outcome.pool] += 1
            found.append((turn.waiting.ticket, turn.outcome))
        return found

    def end(self, pool: str, now_s: float = NOW_S) -> None:
        """Let one request of the pool end."""
        self.held[pool] -= 1
        self.admission.ended(pool, now_s)


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


steps = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "come", "end", "end", "down", "up", "leave"]),
        st.sampled_from(Effort),
        st.sampled_from("ab"),
        st.integers(0, 1),
        st.floats(0, 3),
        st.none() | st.floats(0.1, 30),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps, st.integers(0, 5), st.integers(0, 2**32))
def test_everyone_ends_once(
    happenings: list[tuple[str, Effort, str, int, float, float | None]], max_queued: int, seed: int
) -> None:
    """Served or refused, once; never more in a pool than its places, nor than its floor leaves to others.

    Two runs with one seed are the same, and once all is up and idle again, nobody waits.
    """
    first, again = (played(happenings, max_queued, seed) for _ in range(2))
    assert first == again


def played(
    happenings: list[tuple[str, Effort, str, int, float, float | None]], max_queued: int, seed: int
) -> dict[int, str]:
    """Play what happens; return how each request ended."""
    small, now_s, ends = Small(Rules(max_age_s=float("inf")), max_queued, seed), NOW_S, dict[int, str]()
    there: dict[str, list[Effort]] = {name: [] for name in small.held}
    waiting: dict[int, Waiting[int]] = {}

    def end(ticket: int, outcome: Decision | ApiError, effort: Effort) -> None:
        assert ticket not in ends
        ends[ticket] = outcome.pool if isinstance(outcome, Decision) else outcome.code
        waiting.pop(ticket, None)
        if isinstance(outcome, Decision):
            small.held[outcome.pool] += 1
            there[outcome.pool].append(effort)

    def look() -> None:
        for pool in small.held:
            while turn := small.admission.next_turn(pool, small.pools(), now_s):
                end(turn.waiting.ticket, turn.outcome, turn.waiting.features.effort)

    for number, (what, effort, tenant, priority, pause_s, patience_s) in enumerate(happenings):
        now_s += pause_s
        pool = "throughput" if effort is Effort.NONE else "latency"
        if what == "come":
            deadline_s = None if patience_s is None else now_s + patience_s
            features = Features(effort, tenant=tenant, priority=priority, first_token_deadline_s=deadline_s)
            one = waiting[number] = Waiting(features, now_s, number)
            try:
                decision, left = small.admission.offer(one, small.pools(), now_s)
            except ApiError as error:
                end(number, error, effort)
            else:
                if not decision.waits:
                    end(number, decision, effort)
                if left:
                    end(left.waiting.ticket, left.outcome, left.waiting.features.effort)
        elif what == "end" and there[pool]:
            there[pool].pop()
            small.end(pool, now_s)
        elif what == "leave" and waiting:
            gone = min(waiting)
            small.admission.withdraw(waiting.pop(gone))
            ends[gone] = "left"
        elif what in ("down", "up"):
            (small.down.add if what == "down" else small.down.discard)(pool)
        look()
        assert sum(map(len, small.admission.queues.values())) == len(waiting)
        assert all(len(queue) <= max_queued for queue in small.admission.queues.values())
        assert all(number <= PLACES for number in small.held.values())
        assert there["latency"].count(Effort.NONE) <= PLACES // 2

    small.down, now_s = set(), now_s + 0.1
    for _ in range(len(happenings) + 1):
        for pool in small.held:
            while there[pool]:
                there[pool].pop()
                small.end(pool, now_s)
        look()
    assert not waiting
    assert set(ends) == {i for i, happening in enumerate(happenings) if happening[0] == "come"}
    return ends
