"""May a server that is not ours be asked now, by what it has answered until now?"""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MIN_FAILURES = 3
"""After so many failures in a row the server is left alone for a second, after each further one for twice
as long: one that fails at once would otherwise look like the fastest."""
MAX_PAUSE_S = 30.0
BUSY_PAUSE_S = 1.0
"""After a 429 or 503 that does not say for how long."""
MAX_BUSY_PAUSE_S = 300.0
"""A server may name a day; then it is asked again every so often, with one request."""


class Health:
    """What is known of one server. It counts as away until it has answered something."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._num_failures = 0
        self._resumes_s = clock()
        self.is_there = False

    def answered(self) -> None:
        """Note a good answer."""
        self.is_there = True
        self._num_failures = 0

    def failed(self) -> None:
        """Note an answer that is the server's fault."""
        self._num_failures += 1
        if self._num_failures >= MIN_FAILURES:
            self._pause(min(MAX_PAUSE_S, 2.0 ** min(self._num_failures - MIN_FAILURES, 10)))

    def refused(self, retry_after: str | None) -> float:
        """Note that the server has too much to do; return for how many seconds it is left alone.

        `retry_after`: its header of that name, seconds or a date.
        """
        asked_s = _seconds(retry_after) if retry_after else None
        pause_s = BUSY_PAUSE_S if asked_s is None else min(asked_s, MAX_BUSY_PAUSE_S)
        self._pause(pause_s)
        return pause_s

    @property
    def pause_s(self) -> float:
        """For how many seconds it is still left alone; 0 if it is not."""
        return max(0.0, self._resumes_s - self._clock())

    def _pause(self, pause_s: float) -> None:
        self._resumes_s = max(self._resumes_s, self._clock() + pause_s)


def _seconds(retry_after: str) -> float | None:
    """Return what a Retry-After header asks for (RFC 9110, 10.2.3), or None if it cannot be read."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
