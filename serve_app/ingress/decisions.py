"""Where did the last requests go, and why? A bounded list in each ingress replica, with no content in it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.types import NO_TENANT, Decision, Effort

NUM_KEPT = 300
CLIENT_GONE = "client-gone"
"""The reason where nobody waited for an answer."""
MAX_ID_LENGTH = 128
"""Of a request's id, which the client may choose."""


@dataclass
class Entry:
    """One request whose effort was known, and the answer that it got."""

    number: int
    """Counts this ingress replica's entries."""
    time_s: float
    """When the request came, in seconds since 1970."""
    request_id: str
    tenant: str
    route: str
    effort: Effort
    reason: str
    """The decision's, or the code of the error that there was instead."""
    status: int
    is_stream: bool
    decision: Decision | None
    first_byte_s: float | None = None
    total_s: float | None = None
    """None while the answer is under way."""

    def values(self) -> dict[str, Any]:
        """Return plain values for JSON; `measured.ttft_s` is None for a whole answer."""
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
            "measured": {"ttft_s": self.first_byte_s if self.is_stream else None, "total_s": self.total_s},
        }


class Decisions:
    """The last NUM_KEPT entries of one ingress replica."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=NUM_KEPT)
        self._num_entries = 0

    def add(self, scope: Scope, start: Message, time_s: float) -> Entry | None:
        """Note the answer that begins with `start`; None where the request was not understood.

        Routes leave in `request.state` what they know of it: `effort`, `decision`.
        """
        state, given = scope.get("state", {}), Headers(scope=scope)
        if "effort" not in state:
            return None
        headers = Headers(raw=list(start["headers"]))
        self._num_entries += 1
        entry = Entry(
            self._num_entries,
            time_s,
            given.get("x-request-id", "")[:MAX_ID_LENGTH],
            state["admission"].tenant,
            scope["path"],
            state["effort"],
            headers.get("x-venturi-reason", CLIENT_GONE),
            start["status"],
            headers.get("content-type", "").startswith("text/event-stream"),
            state.get("decision"),
        )
        self._entries.append(entry)
        return entry

    def last(self, number: int) -> list[dict[str, Any]]:
        """Return the last `number` entries, the newest first."""
        newest = list(self._entries)[::-1][:number]
        return [entry.values() for entry in newest]


class Noted:
    """An ASGI app whose answers are noted in `decisions`, with the times that they take at the ingress."""

    def __init__(
        self, app: ASGIApp, *, decisions: Decisions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._decisions = decisions
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came_at_s, started_s = time.time(), self._clock()
        entry: Entry | None = None

        async def watched(message: Message) -> None:
            nonlocal entry
            if message["type"] == "http.response.start":
                entry = self._decisions.add(scope, message, came_at_s)
            elif entry and entry.first_byte_s is None:
                entry.first_byte_s = self._clock() - started_s
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if entry:
                entry.total_s = self._clock() - started_s
