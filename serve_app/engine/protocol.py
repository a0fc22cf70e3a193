"""What does a pool need from the replicas behind it?"""

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Protocol

from serve_app.types import Call, Head, ReplicaReport


class ReplicaStream(Protocol):
    """One answer on its way: first a `Head`, then non-empty `bytes` until it ends.

    Errors (from `__anext__`): ReplicaLost when the replica went away, PoolBusy when it refused.
    """

    def __aiter__(self) -> AsyncIterator[Head | bytes]:
        """Return itself."""
        ...

    async def __anext__(self) -> Head | bytes:
        """Return the next item, or raise StopAsyncIteration at the end of a complete answer."""
        ...

    def cancel(self) -> None:
        """Stop the work on the replica. Harmless after the end, and when called twice."""
        ...


class Backend(Protocol):
    """The replicas of one pool."""

    async def reports(self, num_queued: int) -> Sequence[ReplicaReport | None]:
        """Ask every replica for its report: None for one that is there but did not answer in time.

        `num_queued`: requests that wait here for the pool, which its replicas are told.
        """
        ...

    async def finishing(self, replicas: Collection[str]) -> Collection[str]:
        """Return those that are still there to end their calls, of `replicas` that do not report any more."""
        ...

    def wake(self) -> None:
        """Ask for a replica where there is none. Harmless when called again before it is there."""
        ...

    async def metrics(self) -> Sequence[tuple[str, bytes]]:
        """Return (replica, metrics in Prometheus text form) of every replica that answers."""
        ...

    async def experts(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return (replica, load of its experts as `parallel.load` writes it) of every replica that knows."""
        ...

    def open(self, replica: str, call: Call) -> ReplicaStream:
        """Send `call` to that replica; nothing is awaited before the stream is read."""
        ...
