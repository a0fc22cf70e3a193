"""When is a server left alone, and for how long?"""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from serve_app.engine.upstream.health import Health
from tests.serve_app.samples import Clock


def test_failures_in_a_row() -> None:
    """From the third on it is left alone, each time for twice as long, up to half a minute."""
    clock, pauses = Clock(), []
    health = Health(clock)
    for _ in range(10):
        health.failed()
        pauses.append(health.pause_s)
        clock.now_s += health.pause_s
    assert pauses == [0, 0, 1, 2, 4, 8, 16, 30, 30, 30]
    health.answered()
    health.failed()
    assert health.pause_s == 0


@pytest.mark.parametrize(
    ("retry_after", "pause_s"),
    [
        (None, 1),
        ("0", 0),
        ("12", 12),
        ("99999999999", 300),
        ("soon", 1),
        ("-3", 1),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        (format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 300),
    ],
)
def test_retry_after(retry_after: str | None, pause_s: float) -> None:
    """Seconds or a date, within reason; what cannot be read counts as not said."""
    health = Health(Clock())
    assert health.refused(retry_after) == health.pause_s == pause_s


def test_a_short_pause_does_not_cut_a_long_one() -> None:
    """Whoever asks later for less does not shorten what was asked for."""
    health = Health(Clock())
    health.refused("10")
    health.refused("1")
    assert health.pause_s == 10
