"""What replicas does a simulated pool have, and what does each ingress replica know of them?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from serve_app.simulator.build import Built
from serve_app.simulator.engine import SimulatedEngine
from serve_app.simulator.ingress import KnownPool


@dataclass
class SimulatedPool:
    """The replicas of one pool, and what each ingress replica knows of them."""

    built: Built
    known: list[KnownPool]
    engines: dict[str, SimulatedEngine] = field(default_factory=dict)
    num_starting: int = 0
    kv_most: int = 0
    gpu_s: float = 0.0
    _names: Iterator[int] = field(default_factory=count)

    def start(self, now_s: float, since_s: float) -> None:
        """Add a replica that has held its GPUs since `since_s`."""
        name = f"{self.built.traits.name}-{next(self._names)}"
        engine = self.engines[name] = SimulatedEngine(name, self.built.spec, since_s)
        self.tell(engine, now_s)

    def stop(self, engine: SimulatedEngine, now_s: float) -> None:
        """Take a replica away."""
        del self.engines[engine.name]
        for known in self.known:
            known.forget(engine.name)
        self.kv_most = max(self.kv_most, engine.kv_most)
        self.gpu_s += (now_s - engine.started_s) * engine.spec.num_gpus

    def tell(self, engine: SimulatedEngine, now_s: float) -> None:
        """Let every ingress replica hear from a replica."""
        for known in self.known:
            known.hear(engine, now_s)
