"""Where did the last requests go, and why? A bounded list in each ingress replica, with no content in it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Scope

from serve_app.ingress.observation import Observation, Outcome
from serve_app.types import NO_TENANT, Decision, Effort

NUM_KEPT = 300
CLIENT_GONE = "client-gone"
"""The reason where nobody waited for an answer."""
MAX_ID_LENGTH = 128
"""Of a request's id, which the client may choose."""


@dataclass
class Entry:
    """One request, and the answer that it got; `read` brings it up to what is known."""

    request_id: str
    method: str
    route: str
    time_s: float
    """When the request came, in seconds since 1970."""
    number: int = 0
    """Counts this ingress replica's entries in the list."""
    tenant: str = NO_TENANT
    effort: Effort | None = None
    decision: Decision | None = None
    reason: str = CLIENT_GONE
    """The decision's, or the code of the error that there was instead."""
    status: int = 499
    is_stream: bool = False
    first_byte_s: float | None = None
    total_s: float | None = None
    """None while the answer is under way."""
    outcome: Outcome | None = None
    """How the answer of an engine ended; None where none had begun, or it is under way."""
    tokens: dict[str, int] = field(default_factory=dict)
    """By kind (input, output, reasoning), as the answer told."""

    @classmethod
    def of(cls, scope: Scope, time_s: float) -> "Entry":
        """Return the entry of a request that has just come."""
        request_id = Headers(scope=scope).get("x-request-id", "")[:MAX_ID_LENGTH]
        return cls(request_id, scope["method"], scope["path"], time_s)

    def answered(self, start: Message) -> None:
        """Take in the beginning of the answer."""
        headers = Headers(raw=list(start["headers"]))
        self.status = start["status"]
        self.reason = headers.get("x-venturi-reason", CLIENT_GONE)
        self.is_stream = headers.get("content-type", "").startswith("text/event-stream")

    def read(self, state: dict[str, Any]) -> None:
        """Take in what gate and route have left in `request.state` until now."""
        if "admission" in state:
            self.tenant = state["admission"].tenant
        self.effort, self.decision = state.get("effort"), state.get("decision")
        observation: Observation | None = state.get("observation")
        if observation:
            self.outcome, self.tokens = observation.outcome, observation.usage.told

    @property
    def ttft_s(self) -> float | None:
        """Seconds to a stream's first event; None for a whole answer."""
        return self.first_byte_s if self.is_stream else None

    def values(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        decision = self.decision
        predicted = decision.predicted._asdict() if decision and decision.predicted else None
        return {
            "number": self.number,
            "time_s": self.time_s,
            "request_id": self.request_id,
            "tenant": None if self.tenant == NO_TENANT else self.tenant,
            "route": self.route,
            "effort": self.effort,
            "pool": decision and decision.pool,
            "replica": decision and decision.replica,
            "reason": self.reason,
            "status": self.status,
            "stream": self.is_stream,
            "predicted": predicted,
            "measured": {"ttft_s": self.ttft_s, "total_s": self.total_s},
            "outcome": self.outcome,
            "tokens": self.tokens,
        }


class Decisions:
    """The last NUM_KEPT entries of one ingress replica."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=NUM_KEPT)
        self._num_entries = 0

    def add(self, entry: Entry) -> None:
        """Keep an entry, which may go on changing."""
        self._num_entries += 1
        entry.number = self._num_entries
        self._entries.append(entry)

    def last(self, number: int) -> list[dict[str, Any]]:
        """Return the last `number` entries, the newest first."""
        newest = list(self._entries)[::-1][:number]
        return [entry.values() for entry in newest]
