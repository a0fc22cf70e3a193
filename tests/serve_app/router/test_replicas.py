"""How many replicas keep the targets?"""

from dataclasses import replace

import pytest

from parallel.step_table import StepTable, straight
from serve_app.router.replicas import Promise, Scale
from serve_app.rules import Targets
from serve_app.types import ReplicaReport

TABLE = StepTable((straight({1: 0.01, 10: 0.01, 100: 0.1}),), 0.1, 1e-4)
"""A token takes 10 ms up to ten requests, then a millisecond for each."""
WAIT = Scale((Promise(Targets(ttft_s=1.0), 100),), 1, 10, 100, TABLE)
PACE = replace(WAIT, promises=(Promise(Targets(per_token_s=0.05), 100),))
"""At most 50 requests a replica: 32 with two margins, 40 with one."""


def wanted(scale: Scale, current: int, num_requests: float, **each: float) -> int:
    """Return the number of replicas where each of `current` reports the same."""
    reports = [ReplicaReport(str(i), **each) for i in range(current)]  # type: ignore[arg-type]
    return scale.wanted(current, num_requests, reports)


@pytest.mark.parametrize(
    ("num_requests", "replicas"),
    [(0, 1), (1, 1), (78, 1), (81, 2), (200, 4), (630, 10), (10_000, 10)],
)
def test_places(num_requests: int, replicas: int) -> None:
    """Where only waiting counts, there are places enough, and a margin of them."""
    assert wanted(WAIT, 1, num_requests) == replicas


@pytest.mark.parametrize(
    ("current", "num_requests", "replicas"),
    [
        (1, 31, 1),
        (1, 39, 1),  # between the margins a pool stays as it is
        (1, 41, 2),  # a margin more would be too slow: it grows, and to where two are left
        (2, 41, 2),
        (2, 33, 2),
        (2, 29, 1),
        (5, 200, 7),
        (7, 200, 7),
        (9, 200, 7),
    ],
)
def test_the_margins(current: int, num_requests: int, replicas: int) -> None:
    """A number that was just reached is not left again for a small change."""
    assert wanted(PACE, current, num_requests) == replicas


def test_it_settles() -> None:
    """Asked again with nothing changed, the answer stays."""
    for num_requests in range(0, 500, 7):
        for current in range(1, 11):
            first = wanted(PACE, current, num_requests)
            assert wanted(PACE, first, num_requests) == first


def test_more_load_never_needs_fewer() -> None:
    """From wherever it starts."""
    for current in (1, 5, 10):
        numbers = [wanted(PACE, current, num_requests) for num_requests in range(0, 600, 5)]
        assert numbers == sorted(numbers)


def test_what_was_measured_counts() -> None:
    """Engines twice as slow as the table has it need about twice the replicas; twice as fast, fewer."""
    slow = wanted(PACE, 1, 60, per_token_s=0.02, batch_size=10.0)
    fast = wanted(PACE, 1, 60, per_token_s=0.005, batch_size=10.0)
    assert (fast, wanted(PACE, 1, 60), slow) == (1, 2, 4)


def test_prompts_that_wait() -> None:
    """A backlog of prompts is divided as well: 40,000 tokens take 4 s to read, 1 s is allowed."""
    assert wanted(WAIT, 1, 5, prefill_tokens=40_000) == 7


@pytest.mark.parametrize("scale", [WAIT, PACE])
def test_what_waits_for_a_place(scale: Scale) -> None:
    """It is to be served within a minute: six answers of 10 s one after the other are one place."""
    short, long = ([ReplicaReport("0", answer_tokens=tokens)] for tokens in (100.0, 10_000.0))
    assert scale.wanted(1, 20, short, 360) == scale.wanted(1, 80, short)
    assert scale.wanted(1, 20, long, 60) == scale.wanted(1, 80, long), "and never more than one for each"


def test_places_for_all() -> None:
    """However long a request may wait, there are places for all that have to be served at once."""
    patient = replace(WAIT, promises=(Promise(Targets(ttft_s=100.0), 100),))
    assert wanted(patient, 1, 150) == 3


def test_what_no_number_can_keep() -> None:
    """A target that even an idle replica misses does not start all of them."""
    impossible = replace(PACE, promises=(Promise(Targets(ttft_s=1.0, per_token_s=0.001), 100),))
    assert wanted(impossible, 1, 50) == 1
    assert wanted(impossible, 1, 200) == 4, "the other target still counts"


def test_every_effort_counts() -> None:
    """A pool that is home to both keeps the targets of both."""
    both = replace(WAIT, promises=(*WAIT.promises, *PACE.promises))
    assert wanted(both, 1, 60) == wanted(PACE, 1, 60) > wanted(WAIT, 1, 60)


def test_limits() -> None:
    """Never fewer than the least, nor more than the most; none at all only where there is nothing to do."""
    limited = replace(PACE, least=2, most=3)
    assert [wanted(limited, 2, number) for number in (0, 1000)] == [2, 3]


@pytest.mark.parametrize("most", [1, 2, 10])
def test_none_at_all(most: int) -> None:
    """A pool that may sleep does so where there is nothing to do, also one of a single replica."""
    to_zero = replace(PACE, least=0, most=most)
    assert [wanted(to_zero, 1, number) for number in (0, 1)] == [0, 1]
    assert [wanted(to_zero, 0, number) for number in (0, 1)] == [0, 1]
