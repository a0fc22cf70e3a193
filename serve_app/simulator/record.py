"""What became of one request?"""

import math
from dataclasses import dataclass
from enum import StrEnum

from serve_app.errors import ApiError, DeadlineUnreachable, Overloaded
from serve_app.simulator.arrivals import Arrival


class Outcome(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    BROKEN = "broken"
    """Its replica died after the first token."""
    REFUSED = "refused"
    """No replica was there, or none could ever hold it."""
    SHED = "shed"
    """The queue was full, or what was left was kept for others."""
    LATE = "late"
    """Its client would have left, or has left, before the first token."""


@dataclass(slots=True)
class Record:
    """One request from its arrival to its end."""

    arrival: Arrival
    pool: str = "-"
    reason: str = "-"
    retries: int = 0
    first_s: float = math.nan
    end_s: float = math.nan
    outcome: Outcome | None = None


def refusal(error: ApiError) -> Outcome:
    """Return how a request ends that is refused."""
    if isinstance(error, DeadlineUnreachable):
        return Outcome.LATE
    return Outcome.SHED if isinstance(error, Overloaded) else Outcome.REFUSED
