"""What does this ingress replica know of one pool, and who holds which of its replicas?"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial

from opentelemetry.trace import INVALID_SPAN, Span

from serve_app import tracing
from serve_app.engine.protocol import Backend, ReplicaStream
from serve_app.errors import ApiError, ReplicaLost
from serve_app.pools.breaker import Breaker
from serve_app.types import Call, Head, PoolSnapshot, ReplicaSnapshot


@dataclass
class Lease:
    """The right to send one request to one replica, and the answer's stream.

    `release` frees it exactly once, on end, error or cancel, and stops the replica's work if the
    answer was not complete. `opening` is the first piece of the body; `num_bytes` of the body have
    been delivered so far. `span` is that of the call; it ends with the lease.
    """

    replica: str
    _stream: ReplicaStream
    _on_release: Callable[[], None]
    span: Span = INVALID_SPAN
    opening: bytes = b""
    num_bytes: int = 0
    is_complete: bool = False
    is_released: bool = False

    async def head(self) -> Head:
        """Return status and headers when the body's opening is here as well. Call it once, before `body`.

        The head alone proves little: of a stream it comes before the first token, and until then the
        replica may still be lost, or the engine refuse. Raises ReplicaLost, PoolBusy.
        """
        item = await self._item()
        if item is None:
            raise ReplicaLost(f"replica {self.replica} ended without an answer")
        assert isinstance(item, Head), f"a stream begins with Head, not {type(item).__name__}"
        tracing.answered(self.span, item.status)
        self.opening = item.opening or await self._piece()
        return item

    async def _item(self) -> Head | bytes | None:
        """Return what comes next, None at the end."""
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            return None
        except ApiError as error:
            tracing.failed(self.span, error.code)
            raise

    async def _piece(self) -> bytes:
        """Return the next piece of the body, or nothing at its end."""
        item = await self._item()
        if item is None:
            return b""
        assert isinstance(item, bytes), f"a body is bytes, not {type(item).__name__}"
        return item

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body and release the lease when it ends. Raises ReplicaLost in mid-answer."""
        try:
            piece = self.opening
            while piece:
                self.num_bytes += len(piece)
                yield piece
                piece = await self._piece()
            self.is_complete = True
        finally:
            self.release()

    def release(self) -> None:
        """Give the replica back. Safe to call again."""
        if self.is_released:
            return
        self.is_released = True
        if not self.is_complete:
            self._stream.cancel()
        self.span.end()
        self._on_release()


@dataclass
class Pool:
    """One pool as seen from one ingress replica."""

    traits: PoolSnapshot
    """What hardly changes: the pool without its replicas."""
    backend: Backend
    clock: Callable[[], float] = time.monotonic
    on_refresh: Callable[[], None] = lambda: None
    """Called when reports have arrived."""
    num_queued: Callable[[], int] = lambda: 0
    """Says how many wait here for a place in it."""
    _held: Counter[str] = field(default_factory=Counter)
    """Leases by replica."""
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _replicas: dict[str, ReplicaSnapshot] = field(default_factory=dict)
    _finishing: Collection[str] = ()
    """Replicas that are known no more, and end the calls that they have."""
    _suspects: set[str] = field(default_factory=set)
    _snapshot: PoolSnapshot | None = None
    """The last one, until something changes."""

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.traits.name

    @property
    def num_leases(self) -> int:
        """Leases that are held."""
        return self._held.total()

    @property
    def num_broken(self) -> int:
        """Replicas whose breaker is open."""
        return sum(replica.is_broken for replica in self._replicas.values())

    @property
    def num_suspects(self) -> int:
        """Replicas that failed and have not reported since."""
        return len(self._suspects)

    async def refresh(self) -> None:
        """Ask the replicas for reports. What is not there any more is forgotten.

        While some replica is silent, nobody can tell which of those known it is: they are kept, and age.
        Of one that Serve stops nothing new is known, but it ends what it has.
        What a report does not count yet of this observer's own leases is counted on top of it.
        """
        reports = await self.backend.reports(self.num_queued())
        kept = self._replicas if None in reports else {}
        missing = self._held.keys() - kept.keys() - {r.replica for r in reports if r}
        self._finishing = await self.backend.finishing(missing) if missing else ()
        now = self.clock()
        heard = {
            r.replica: ReplicaSnapshot(r, now, max(0, self._held[r.replica] - r.num_ongoing))
            for r in reports
            if r
        }
        self._replicas = dict(sorted((kept | heard).items()))
        self._breakers = {name: one for name, one in self._breakers.items() if name in self._replicas}
        for name in self._breakers:
            self._show_breaker(name)
        self._suspects = (self._suspects - heard.keys()) & self._replicas.keys()
        self._snapshot = None
        if lengths := [r.max_model_len for r in reports if r and r.max_model_len]:
            self.traits = replace(self.traits, max_model_len=min(lengths))
        self.on_refresh()

    def suspect(self, replica: str) -> None:
        """Show a replica that failed in no snapshot until it reports again."""
        self._suspects.add(replica)
        self._snapshot = None

    def answered(self, replica: str) -> None:
        """Close the replica's breaker: it answered a request."""
        if breaker := self._breakers.get(replica):
            breaker.answered()
            self._show_breaker(replica)

    def failed(self, replica: str) -> bool:
        """Tell the replica's breaker that it failed what another one answered; return whether it opens."""
        if replica not in self._replicas:
            return False
        is_opened = self._breakers.setdefault(replica, Breaker()).failed(self.clock())
        self._show_breaker(replica)
        return is_opened

    def _show_breaker(self, replica: str) -> None:
        known, is_broken = self._replicas.get(replica), self._breakers[replica].is_open(self.clock())
        if known and known.is_broken != is_broken:
            self._replicas[replica] = replace(known, is_broken=is_broken)
            self._snapshot = None

    def has(self, replica: str) -> bool:
        """Whether the replica is there, as far as is known, though it may get nothing new."""
        return replica in self._replicas or replica in self._finishing

    def draft_tokens(self, replica: str) -> int | None:
        """Return the draft tokens a verify step that the replica reported last, None if it is not known."""
        known = self._replicas.get(replica)
        return known.report.draft_tokens if known else None

    def snapshot(self) -> PoolSnapshot:
        """Return what is known now; it does not change afterwards."""
        if self._snapshot is None:
            shown = tuple(r for name, r in self._replicas.items() if name not in self._suspects)
            # Of the last round alone: a replica that is silent since would go on saying what was then.
            latest_s = max((one.reported_at_s for one in shown), default=0.0)
            latest = (one.report for one in shown if one.reported_at_s == latest_s)
            elsewhere = max((report.num_queued_elsewhere for report in latest), default=0)
            self._snapshot = replace(self.traits, replicas=shown, num_queued_elsewhere=elsewhere)
        return self._snapshot

    def acquire(
        self,
        replica: str,
        call: Call,
        prompt_tokens: int = 0,
        on_release: Callable[[], None] = lambda: None,
        span: Span = INVALID_SPAN,
    ) -> Lease:
        """Send `call` to `replica`. The caller must release the lease, or read its body to the end.

        `prompt_tokens`, an estimate, is what the policy counts on top of the replica's own report.
        """
        stream = self.backend.open(replica, call)
        self._held[replica] += 1
        probe = None
        if breaker := self._breakers.get(replica):
            probe = breaker.sent(self.clock())
            self._show_breaker(replica)
        if known := self._replicas.get(replica):
            self._replicas[replica] = replace(
                known,
                num_leased=known.num_leased + 1,
                leased_tokens=known.leased_tokens + prompt_tokens,
            )
            self._snapshot = None
        released = partial(self._released, replica, probe, on_release)
        return Lease(replica, stream, released, span)

    def _released(self, replica: str, probe: object | None, then: Callable[[], None]) -> None:
        self._held[replica] -= 1
        if not self._held[replica]:
            del self._held[replica]
        if known := self._replicas.get(replica):
            self._replicas[replica] = replace(known, num_leased=known.num_leased - 1)
            self._snapshot = None
        if probe and (breaker := self._breakers.get(replica)):
            breaker.probed(probe)
            self._show_breaker(replica)
        then()

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {len(self._replicas)} replicas, {self.num_leases} leases>"
