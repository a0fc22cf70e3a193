"""What a load that goes up and down adds up to: who was there when, and what became of which request."""

from tests.bench.course import Course, table
from tests.bench.outcomes import Outcome

ONE, BOTH = frozenset({"a"}), frozenset({"a", "b"})


def outcome(
    sent_s: float,
    replica: str | None = "a",
    takes_s: float = 2.0,
    error: str | None = None,
    code: str | None = None,
) -> Outcome:
    """Return a request of four tokens."""
    first_s = None if code == "queue_full" else sent_s + 0.5
    ended_s = sent_s + takes_s
    return Outcome(
        "none", sent_s, sent_s, ended_s, 4, 4, first_s, ended_s, error=error, code=code, replica=replica
    )


COURSE = Course(
    ((0.0, 1), (10.0, 4), (20.0, 1)),
    ((0.0, ONE), (15.0, BOTH), (25.0, ONE)),
    (
        outcome(3),
        outcome(12),
        outcome(13, "-", error="503: full", code="queue_full"),
        outcome(16, "a"),
        outcome(17, "b"),
        outcome(24, "b"),
        outcome(24, "a"),
        outcome(24.5, "b", error="it died", code="replica_lost"),
        outcome(29, None, error="the stream broke off"),
    ),
)


def test_stages() -> None:
    """A new one begins with other clients, and with another number of replicas."""
    assert [
        (stage.from_s, stage.num_clients, stage.num_replicas, len(stage.outcomes))
        for stage in COURSE.stages()
    ] == [
        (0.0, 1, 1, 1),
        (10.0, 4, 1, 2),
        (15.0, 4, 2, 2),
        (20.0, 1, 2, 3),
        (25.0, 1, 1, 1),
    ]
    assert COURSE.numbers == [1, 2, 1]


def test_who_was_served_when_the_replica_left() -> None:
    """Requests of the one that left alone, and not those that had ended."""
    assert [(one.sent_s, one.end) for one in COURSE.under_way()] == [(24, "answered"), (24.5, "broken off")]


def test_a_lost_request_counts() -> None:
    """An error with a code is an answer, no word is none."""
    assert COURSE.num_lost == 1


def test_table() -> None:
    """A row a stage, with who served how many."""
    lines = table(COURSE).splitlines()
    assert lines[3] == "| 10 s | 4 | 1 | 2 | 1 | 1 | 0 | 0.50 / 0.50 s | 1 |"
    assert lines[4] == "| 15 s | 4 | 2 | 2 | 2 | 0 | 0 | 0.50 / 0.50 s | 1 + 1 |"
    assert lines[-1] == "under way at a replica when it was taken away: {'answered': 1, 'broken off': 1}"
