"""What happens to each request of a scenario, event by event?

The production policy decides about every request, on reports as old as in production. It decides for the
whole cluster, as a single ingress replica would. There is no admission: requests wait in the engines.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import count
from random import Random

from serve_app.errors import InvalidRequest, NoReplica
from serve_app.router.policy import Policy
from serve_app.simulator.arrivals import Arrival, arrivals
from serve_app.simulator.autoscaling import wanted
from serve_app.simulator.build import Built, build
from serve_app.simulator.engine import Sequence, SimulatedEngine
from serve_app.simulator.scenario import Closed, Failure, Scenario
from serve_app.types import PoolSnapshot, ReplicaSnapshot, RequestFeatures


class Outcome(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    BROKEN = "broken"
    """Its replica died after the first token."""
    REFUSED = "refused"
    """No replica was there, or none could ever hold it."""


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


@dataclass(frozen=True)
class Result:
    """Everything that a run leaves behind."""

    scenario: Scenario
    records: tuple[Record, ...]
    end_s: float
    """When the last request ended."""
    gpu_s: dict[str, float]
    """GPU-seconds by pool, of replicas that start and idle too."""
    kv_most: dict[str, float]
    """The fullest cache that any replica of a pool had, as a share of it."""


@dataclass
class _Pool:
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
        self.snapshots[engine.name] = ReplicaSnapshot(engine.report(), now_s)
        self._known = None

    def lease(self, replica: str, num_tokens: int) -> None:
        known = self.snapshots[replica]
        self.snapshots[replica] = replace(
            known, num_leased=known.num_leased + 1, leased_tokens=known.leased_tokens + num_tokens
        )
        self._known = None

    def snapshot(self) -> PoolSnapshot:
        if self._known is None:
            self._known = replace(self.built.traits, replicas=tuple(self.snapshots.values()))
        return self._known


class Simulation:
    """One run; `progress` is called with the number of requests that ended since the last call."""

    def __init__(self, scenario: Scenario, progress: Callable[[int], object] = lambda _: None) -> None:
        self._scenario = scenario
        self._progress = progress
        built = build(scenario)
        self._pools = {name: _Pool(one) for name, one in built.items()}
        tables = {name: one.table for name, one in built.items()}
        self._policy = Policy(scenario.router.rules(), tables, Random(scenario.seed + 1))
        self._records: list[Record] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._now_s = 0.0
        self._last_s = 0.0
        self._num_open = 0
        self._arrivals = arrivals(scenario)
        self._is_closed = isinstance(scenario.arrivals, Closed)
        self._may_arrive = True

    def run(self) -> Result:
        """Play the scenario to its end."""
        scenario = self._scenario
        for name, pool in self._pools.items():
            for _ in range(scenario.pools[name].replicas):
                pool.start(0.0, 0.0)
            if scaling := scenario.pools[name].autoscaling:
                self._at(scaling.period_s, partial(self._scale, name))
        for failure in scenario.failures:
            self._at(failure.at_s, partial(self._fail, failure))
        self._at(scenario.router.report_period_s, self._observe)
        source = scenario.arrivals
        for _ in range(source.concurrency if isinstance(source, Closed) else 1):
            self._next_arrival()
        while self._events and (self._may_arrive or self._num_open):
            self._now_s, _, act = heapq.heappop(self._events)
            act()
        end_s = max(self._last_s, 0.0 if self._is_closed else scenario.duration_s)
        for pool in self._pools.values():
            for engine in list(pool.engines.values()):
                pool.stop(engine, end_s)
        return Result(
            scenario,
            tuple(self._records),
            end_s,
            {name: pool.gpu_s for name, pool in self._pools.items()},
            {name: pool.kv_most / pool.built.spec.kv_tokens for name, pool in self._pools.items()},
        )

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), act))

    def _next_arrival(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is None:
            self._may_arrive = False
            return
        if self._is_closed:
            arrival = replace(arrival, at_s=self._now_s)
        self._at(arrival.at_s, partial(self._arrive, arrival))

    def _arrive(self, arrival: Arrival) -> None:
        if not self._is_closed:
            self._next_arrival()
        self._records.append(Record(arrival))
        self._num_open += 1
        self._route(len(self._records) - 1, ())

    def _route(self, number: int, tried: tuple[str, ...]) -> None:
        record = self._records[number]
        arrival = record.arrival
        features = RequestFeatures(arrival.effort, prompt_tokens=arrival.prompt_tokens, stream=True)
        pools = [pool.snapshot() for pool in self._pools.values()]
        try:
            decision = self._policy.decide(features, pools, self._now_s, tried)
        except (NoReplica, InvalidRequest):
            self._end(number, Outcome.REFUSED)
            return
        pool = self._pools[decision.pool]
        record.pool, record.reason = decision.pool, decision.reason
        engine = pool.engines[decision.replica]
        try:
            engine.add(Sequence(number, arrival.prompt_tokens, arrival.answer_tokens), self._now_s)
        except ValueError:
            self._end(number, Outcome.REFUSED)
            return
        pool.lease(engine.name, arrival.prompt_tokens)
        self._schedule(pool, engine)

    def _schedule(self, pool: _Pool, engine: SimulatedEngine) -> None:
        """Look at the engine again when its plan ends, unless it has another one by then."""
        if engine.ends_s < math.inf:
            version = engine.version
            self._at(engine.ends_s, partial(self._advance, pool, engine, version))

    def _advance(self, pool: _Pool, engine: SimulatedEngine, version: int) -> None:
        if engine.version != version:
            return
        for sequence in engine.advance():
            self._records[sequence.number].first_s = sequence.first_s
            self._end(sequence.number, Outcome.ANSWERED)
        if engine.is_draining and not engine.num_ongoing:
            pool.stop(engine, self._now_s)
        self._schedule(pool, engine)

    def _end(self, number: int, outcome: Outcome) -> None:
        record = self._records[number]
        assert record.outcome is None, f"request {number} ended twice"
        record.outcome, record.end_s = outcome, self._now_s
        self._last_s = self._now_s
        self._num_open -= 1
        self._progress(1)
        if self._is_closed:
            self._next_arrival()

    def _observe(self) -> None:
        for pool in self._pools.values():
            for engine in pool.engines.values():
                pool.observe(engine, self._now_s)
        self._at(self._now_s + self._scenario.router.report_period_s, self._observe)

    def _fail(self, failure: Failure) -> None:
        pool = self._pools[failure.pool]
        engine = next(iter(pool.engines.values()), None)
        if engine is None:
            return
        lost = engine.take_all()
        pool.stop(engine, self._now_s)
        pool.num_starting += 1
        self._at(self._now_s + failure.restart_s, partial(self._started, pool, self._now_s))
        for sequence in lost:
            if math.isnan(sequence.first_s):
                self._records[sequence.number].retries += 1
                self._route(sequence.number, (engine.name,))
            else:
                self._records[sequence.number].first_s = sequence.first_s
                self._end(sequence.number, Outcome.BROKEN)

    def _started(self, pool: _Pool, since_s: float) -> None:
        pool.num_starting -= 1
        pool.start(self._now_s, since_s)

    def _scale(self, name: str) -> None:
        pool, scaling = self._pools[name], self._scenario.pools[name].autoscaling
        assert scaling is not None
        serving = [engine for engine in pool.engines.values() if not engine.is_draining]
        there = len(serving) + pool.num_starting
        num_ongoing = sum(engine.num_ongoing for engine in pool.engines.values())
        more = wanted(num_ongoing, scaling) - there
        for _ in range(more):
            pool.num_starting += 1
            self._at(self._now_s + scaling.start_s, partial(self._started, pool, self._now_s))
        # One serves on, whatever is still to start.
        num_leaving = min(max(0, -more), len(serving) - 1)
        for engine in sorted(serving, key=lambda one: one.num_ongoing)[: max(0, num_leaving)]:
            engine.is_draining = True
            pool.observe(engine, self._now_s)
            if not engine.num_ongoing:
                pool.stop(engine, self._now_s)
        self._at(self._now_s + scaling.period_s, partial(self._scale, name))


def simulate(scenario: Scenario, progress: Callable[[int], object] = lambda _: None) -> Result:
    """Play a scenario. Raises ConfigError if a pool cannot run, or a trace cannot be read."""
    return Simulation(scenario, progress).run()
