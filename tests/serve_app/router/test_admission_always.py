"""Admission: what holds whatever comes, ends, fails and leaves."""

from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import ApiError
from serve_app.router.admission_queue import Waiting
from serve_app.rules import Rules
from serve_app.types import Decision, Effort, RequestFeatures
from tests.serve_app.router.small import PLACES, Small
from tests.serve_app.router.states import NOW_S

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
            features = RequestFeatures(
                effort, tenant=tenant, priority=priority, first_token_deadline_s=deadline_s
            )
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
