"""What does this ingress replica know of one pool, and who holds which of its replicas?"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from serve_app.engine.protocol import Backend, ReplicaStream
from serve_app.errors import ReplicaLost
from serve_app.types import Call, Effort, Head, PoolSnapshot, ReplicaReport, ReplicaSnapshot


@dataclass
class _Replica:
    """The last report of one replica, and what was leased here since."""

    report: ReplicaReport
    reported_at_s: float
    leases_since: int = 0
    is_suspect: bool = False


@dataclass
class Lease:
    """The right to send one request to one replica, and the answer's stream.

    `release` frees it exactly once, on end, error or cancel, and stops the replica's work if the
    answer was not complete. `opening` is the first piece of the body; `num_bytes` of the body have
    been delivered so far.
    """

    replica: str
    _stream: ReplicaStream
    _on_release: Callable[[], None]
    opening: bytes = b""
    num_bytes: int = 0
    is_complete: bool = False
    is_released: bool = False

    async def head(self) -> Head:
        """Return status and headers when the body's opening is here as well. Call it once, before `body`.

        The head alone proves little: of a stream it comes before the first token, and until then the
        replica may still be lost, or the engine refuse. Raises ReplicaLost, PoolBusy.
        """
        try:
            item = await self._stream.__anext__()
        except StopAsyncIteration:
            raise ReplicaLost(f"replica {self.replica} ended without an answer") from None
        assert isinstance(item, Head), f"a stream begins with Head, not {type(item).__name__}"
        self.opening = item.opening or await self._piece()
        return item

    async def _piece(self) -> bytes:
        """Return the next piece of the body, or nothing at its end."""
        try:
            item = await self._stream.__anext__()
        except StopAsyncIteration:
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
        self._on_release()


@dataclass
class Pool:
    """One pool as seen from one ingress replica."""

    name: str
    efforts: frozenset[Effort]
    backend: Backend
    speculates: bool = False
    clock: Callable[[], float] = time.monotonic
    num_leases: int = 0
    _replicas: dict[str, _Replica] = field(default_factory=dict)

    async def refresh(self) -> None:
        """Ask the replicas for reports. What is not there any more is forgotten.

        While some replica is silent, nobody can tell which of those known it is: they are kept, and age.
        """
        reports = await self.backend.reports()
        now = self.clock()
        kept = self._replicas if None in reports else {}
        self._replicas = kept | {r.replica: _Replica(r, now) for r in reports if r}

    def suspect(self, replica: str) -> None:
        """Show a replica that failed in no snapshot until it reports again."""
        if known := self._replicas.get(replica):
            known.is_suspect = True

    def has(self, replica: str) -> bool:
        """Whether the replica is there, as far as is known."""
        return replica in self._replicas

    def snapshot(self) -> PoolSnapshot:
        """Return what is known now; it does not change afterwards."""
        now = self.clock()
        return PoolSnapshot(
            self.name,
            self.efforts,
            tuple(
                ReplicaSnapshot(name, r.report.num_ongoing + r.leases_since, now - r.reported_at_s)
                for name, r in sorted(self._replicas.items())
                if not r.is_suspect
            ),
            self.speculates,
        )

    def acquire(self, replica: str, call: Call) -> Lease:
        """Send `call` to `replica`. The caller must release the lease, or read its body to the end."""
        self.num_leases += 1
        if known := self._replicas.get(replica):
            known.leases_since += 1
        return Lease(replica, self.backend.open(replica, call), self._released)

    def _released(self) -> None:
        self.num_leases -= 1

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {len(self._replicas)} replicas, {self.num_leases} leases>"
