"""What replicas does a simulated pool have, and what does the router know of them?"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from serve_app.simulator.build import Built
from serve_app.simulator.engine import SimulatedEngine
from serve_app.types import PoolSnapshot, ReplicaSnapshot


@dataclass
class SimulatedPool:
    """The replicas of one pool, and what the router knows of them."""

    built: Built
    engines: dict[str, SimulatedEngine] = field(default_factory=dict)
    snapshots: dict[str, ReplicaSnapshot] = field(default_factory=dict)
    num_starting: int = 0
    kv_most: int = 0
    gpu_s: float = 0.0
    _names: Iterator[int] = field(default_factory=count)
    _known: PoolSnapshot | None = None

    def start(self, now_s: float, since_s: float) -> None:
        """Add a replica that has held its GPUs since `since_s`."""
        name = f"{self.built.traits.name}-{next(self._names)}"
        engine = self.engines[name] = SimulatedEngine(name, self.built.spec, since_s)
        self.observe(engine, now_s)

    def stop(self, engine: SimulatedEngine, now_s: float) -> None:
        """Take a replica away."""
        del self.engines[engine.name]
        del self.snapshots[engine.name]
        self._known = None
        self.kv_most = max(self.kv_most, engine.kv_most)
        self.gpu_s += (now_s - engine.started_s) * engine.spec.num_gpus

    def observe(self, engine: SimulatedEngine, now_s: float) -> None:
        """Let the router hear from a replica."""
        self.snapshots[engine.name] = ReplicaSnapshot(engine.report(), now_s)
        self._known = None

    def lease(self, replica: str, num_tokens: int) -> None:
        """Count a request that the router has sent there since."""
        known = self.snapshots[replica]
        self.snapshots[replica] = replace(
            known, num_leased=known.num_leased + 1, leased_tokens=known.leased_tokens + num_tokens
        )
        self._known = None

    def release(self, replica: str) -> None:
        """Count one that has ended there since."""
        known = self.snapshots[replica]
        self.snapshots[replica] = replace(known, num_leased=known.num_leased - 1)
        self._known = None

    def snapshot(self) -> PoolSnapshot:
        """Return what the router knows now."""
        if self._known is None:
            self._known = replace(self.built.traits, replicas=tuple(self.snapshots.values()))
        return self._known
