"""What does one ingress replica know of the pools, and who waits there?"""

from dataclasses import dataclass, field, replace

from serve_app.router.admission import Admission
from serve_app.simulator.engine import SimulatedEngine
from serve_app.types import PoolSnapshot, ReplicaSnapshot


@dataclass
class KnownPool:
    """What one ingress replica knows of a pool: reports, and what it has sent there since."""

    traits: PoolSnapshot
    _replicas: dict[str, ReplicaSnapshot] = field(default_factory=dict)
    _snapshot: PoolSnapshot | None = None

    def hear(self, engine: SimulatedEngine, now_s: float) -> None:
        """Take a replica's report."""
        self._set(engine.name, ReplicaSnapshot(engine.report(), now_s))

    def forget(self, replica: str) -> None:
        """Note that a replica is gone."""
        self._replicas.pop(replica, None)
        self._snapshot = None

    def lease(self, replica: str, num_tokens: int) -> None:
        """Count a request that is sent there."""
        known = self._replicas[replica]
        leased_tokens = known.leased_tokens + num_tokens
        self._set(replica, replace(known, num_leased=known.num_leased + 1, leased_tokens=leased_tokens))

    def release(self, replica: str) -> None:
        """Count one that has ended there."""
        known = self._replicas[replica]
        self._set(replica, replace(known, num_leased=known.num_leased - 1))

    def queued_elsewhere(self, number: int) -> None:
        """Note how many wait for the pool at other ingress replicas."""
        self.traits = replace(self.traits, num_queued_elsewhere=number)
        self._snapshot = None

    def snapshot(self) -> PoolSnapshot:
        """Return what is known now."""
        if self._snapshot is None:
            self._snapshot = replace(self.traits, replicas=tuple(self._replicas.values()))
        return self._snapshot

    def _set(self, replica: str, snapshot: ReplicaSnapshot) -> None:
        self._replicas[replica] = snapshot
        self._snapshot = None


@dataclass(frozen=True)
class Ingress:
    """One ingress replica."""

    number: int
    admission: Admission[int]
    pools: dict[str, KnownPool]

    def snapshots(self) -> list[PoolSnapshot]:
        """Return what it knows of every pool."""
        return [pool.snapshot() for pool in self.pools.values()]
