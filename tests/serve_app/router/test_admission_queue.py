"""The queue: who is next, who has to leave, and what holds whatever comes."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.router.admission_queue import AdmissionQueue, Waiting
from serve_app.rules import Admission
from serve_app.types import Effort, RequestFeatures

RULES = Admission(aging_s=10.0)
NONE, HIGH = Effort.NONE, Effort.HIGH


def waiting(
    ticket: int, effort: Effort = NONE, since_s: float = 0.0, tenant: str = "-", priority: int = 0
) -> Waiting[int]:
    """Return a request that came at `since_s`."""
    return Waiting(RequestFeatures(effort, tenant=tenant, priority=priority), since_s, ticket)


def queue(*requests: Waiting[int], max_num: int = 100, rules: Admission = RULES) -> AdmissionQueue[int]:
    """Return a queue that has them."""
    made = AdmissionQueue[int](rules, max_num)
    for one in requests:
        assert made.add(one) is None
    return made


def served(from_queue: AdmissionQueue[int]) -> list[int]:
    """Serve everybody; return the tickets in order."""
    order = []
    while (first := from_queue.first()) is not None:
        from_queue.served(first)
        order.append(first.ticket)
    return order


@pytest.mark.parametrize(
    ("requests", "order"),
    [
        ([waiting(1, since_s=1), waiting(2, since_s=2), waiting(3, since_s=3)], [1, 2, 3]),
        ([waiting(1), waiting(2, HIGH, since_s=9)], [2, 1]),
        ([waiting(1), waiting(2, HIGH, since_s=11)], [1, 2]),
        ([waiting(1), waiting(2, since_s=9, priority=1), waiting(3, HIGH, since_s=9, priority=1)], [3, 2, 1]),
        ([waiting(1), waiting(2, since_s=25, priority=3)], [2, 1]),
        (
            [*(waiting(i, tenant="flood") for i in range(3)), waiting(9, tenant="quiet", since_s=5)],
            [0, 9, 1, 2],
        ),
    ],
    ids=["as they came", "high first", "but who waited long", "priority", "is worth more steps", "turns"],
)
def test_order(requests: Sequence[Waiting[int]], order: list[int]) -> None:
    """By precedence and waiting, tenants in turns."""
    assert served(queue(*requests)) == order


@pytest.mark.parametrize(("first", "order"), [(HIGH, [2, 1]), (NONE, [1, 2]), (None, [1, 2])])
def test_which_effort_goes_first(first: Effort | None, order: list[int]) -> None:
    """As configured; without one, the longer wait decides."""
    assert served(queue(waiting(1), waiting(2, HIGH, 1.0), rules=Admission(first=first))) == order


@pytest.mark.parametrize(
    ("there", "comes", "leaves"),
    [
        ([waiting(1), waiting(2, since_s=1)], waiting(3, since_s=2), 3),
        ([waiting(1), waiting(2, since_s=1)], waiting(3, HIGH, since_s=2), 2),
        ([waiting(1, HIGH), waiting(2, HIGH)], waiting(3, since_s=2), 3),
        ([waiting(1), waiting(2, HIGH)], waiting(3, HIGH, since_s=2), 1),
        ([waiting(1, tenant="a"), waiting(2, since_s=1, tenant="a")], waiting(3, since_s=2, tenant="b"), 2),
        ([waiting(1, tenant="a"), waiting(2, tenant="b")], waiting(3, since_s=2, tenant="c"), 3),
        ([waiting(1), waiting(2, since_s=5)], waiting(3, since_s=3), 2),
    ],
    ids=["newest", "less important", "newcomer is", "one step down", "tenant with most", "fair", "retried"],
)
def test_who_leaves_a_full_queue(there: Sequence[Waiting[int]], comes: Waiting[int], leaves: int) -> None:
    """The newest of the lowest precedence, of the tenant with most there."""
    full = queue(*there, max_num=2)
    dropped = full.add(comes)
    assert dropped is not None
    assert dropped.ticket == leaves
    assert len(full) == 2


def test_overdue() -> None:
    """Those whose client has left, however often it is asked, and never twice once removed."""
    late, later = (
        Waiting(RequestFeatures(NONE, first_token_deadline_s=at_s, deadline_s=100.0), 0.0, i)
        for i, at_s in enumerate((5.0, 8.0))
    )
    both = queue(late, later, waiting(3))
    assert both.overdue(4.9) == []
    assert both.overdue(5.0) == [late]
    both.remove(late)
    assert both.overdue(7.0) == []
    assert both.overdue(9.0) == [later]


events = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "serve", "leave"]),
        st.sampled_from(Effort),
        st.sampled_from("abc"),
        st.integers(0, 2),
        st.floats(0, 5),
    ),
    max_size=60,
)


@given(events, st.integers(1, 8))
def test_nobody_is_lost_or_served_twice(
    steps: list[tuple[str, Effort, str, int, float]], max_num: int
) -> None:
    """Each request is served, dropped, or leaves, once; never more wait than may; counts are right.

    Whoever is dropped is of no higher precedence than any that stays.
    """
    made, now_s, ends = AdmissionQueue[int](RULES, max_num), 0.0, Counter[int]()
    there: dict[int, Waiting[int]] = {}
    for number, (what, effort, tenant, priority, pause_s) in enumerate(steps):
        now_s += pause_s
        gone = None
        if what == "add":
            there[number] = waiting(number, effort, now_s, tenant, priority)
            gone = made.add(there[number])
            if gone:
                lowest = min(made.precedence(one.features) for one in there.values())
                assert made.precedence(gone.features) == lowest
        elif what == "serve" and (gone := made.first()):
            made.served(gone)
        elif what == "leave" and there:
            gone = there[min(there)]
            assert made.remove(gone)
        if gone:
            ends[gone.ticket] += 1
            del there[gone.ticket]
            assert not made.remove(gone)
        assert {one.ticket for one in made} == set(there)
        assert len(made) == len(there) <= max_num
        assert all(made.num(e) == sum(w.features.effort is e for w in there.values()) for e in Effort)
    assert all(number == 1 for number in ends.values())


@given(events)
def test_nobody_starves(steps: list[tuple[str, Effort, str, int, float]]) -> None:
    """Who is served while another waits came at most `aging_s` a step of precedence later, or it was a turn.

    Of one tenant and precedence, nobody is overtaken at all.
    """
    made, now_s = AdmissionQueue[int](RULES, 1000), 0.0
    for number, (what, effort, tenant, priority, pause_s) in enumerate(steps):
        now_s += pause_s
        if what != "serve":
            made.add(waiting(number, effort, now_s, tenant, priority))
        elif first := made.first():
            oldest_s = min(
                one.since_s
                for one in made
                if made.precedence(one.features) == made.precedence(first.features)
            )
            made.served(first)
            for other in made:
                steps_up = made.precedence(first.features) - made.precedence(other.features)
                if steps_up:
                    assert oldest_s - other.since_s <= RULES.aging_s * steps_up
                elif other.features.tenant == first.features.tenant:
                    assert first.since_s <= other.since_s


@given(st.lists(st.sampled_from("aab"), min_size=1, max_size=30))
def test_tenants_take_turns(tenants: list[str]) -> None:
    """As long as two tenants wait, no one of them is served twice in a row."""
    made = queue(*(waiting(i, since_s=float(i), tenant=t) for i, t in enumerate(tenants)))
    order = [tenants[ticket] for ticket in served(made)]
    both = 2 * min(Counter(tenants)["a"], Counter(tenants)["b"])
    assert all(order[i] != order[i + 1] for i in range(both - 1))


@given(events, st.sampled_from(Effort), st.sampled_from("abc"))
def test_num_ahead(steps: list[tuple[str, Effort, str, int, float]], effort: Effort, tenant: str) -> None:
    """Of requests that came at once it is the place in the order, but for the turns of the others.

    A tenant that has its turn before the others is counted as if it had it after them.
    """
    made, now_s = AdmissionQueue[int](RULES, 1000), 0.0
    for number, (_, other, who, priority, _) in enumerate(steps):
        made.add(waiting(number, other, now_s, who, priority))
    mine = waiting(-1, effort, now_s, tenant, 1)
    ahead = made.num_ahead(mine.features, now_s)
    made.add(mine)
    place = served(made).index(-1)
    assert place <= ahead <= place + 2
