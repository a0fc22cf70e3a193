"""Which mistakes must a server refuse, and with which status?"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from serve_app.conformance.cases import lengthy
from serve_app.conformance.dialects import Ask

USUAL_CONTEXT = 300_000
"""Tokens that are too many, where the model's card does not say how many it takes."""


@dataclass(frozen=True)
class Mistake:
    """One thing wrong with a request that is right otherwise."""

    name: str
    statuses: tuple[int, ...]
    make: Callable[[Ask, int], Ask]
    """The request with the mistake in it; the number is of tokens that are too many for a prompt."""
    needs_effort: bool = False
    """Whether only dialects with an effort can have it."""


MISTAKES = (
    Mistake("unknown-model", (400, 404), lambda ask, _: replace(ask, model="no-such-model")),
    Mistake("unknown-effort", (400,), lambda ask, _: replace(ask, effort="huge"), needs_effort=True),
    Mistake("long-prompt", (400, 413), lambda ask, too_many: replace(ask, case=lengthy(too_many))),
)
