"""What happens to each request of a scenario, event by event?

The production policy decides about every request, on reports as old as in production, and the production
admission lets those wait that there is no place for. Each ingress replica has its own of both, sees the whole
cluster, and knows of the others what reports tell.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from random import Random

from serve_app.errors import ApiError
from serve_app.router.admission import Admission, Turn
from serve_app.router.admission_queue import Waiting
from serve_app.router.policy import NO_TARGETS, Policy
from serve_app.router.replicas import Promise, Scale
from serve_app.simulator.arrivals import Arrival, arrivals
from serve_app.simulator.autoscaling import Delays, by_requests
from serve_app.simulator.build import build
from serve_app.simulator.engine import Sequence, SimulatedEngine
from serve_app.simulator.ingress import Ingress, KnownPool
from serve_app.simulator.pool import SimulatedPool
from serve_app.simulator.record import Outcome, Record, refusal
from serve_app.simulator.scenario import Autoscaling, Closed, Failure, Scenario
from serve_app.types import RequestFeatures


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


class Simulation:
    """One run; `progress` is called with the number of requests that ended since the last call."""

    def __init__(self, scenario: Scenario, progress: Callable[[int], object] = lambda _: None) -> None:
        self._scenario = scenario
        self._progress = progress
        built = build(scenario)
        tables = {name: one.table for name, one in built.items()}
        max_queued = {name: pool.max_queued_requests for name, pool in scenario.pools.items()}
        rules = self._rules = scenario.router.rules()
        self._ingress = [
            Ingress(
                number,
                Admission(Policy(rules, tables, Random(scenario.seed + 1 + number)), max_queued),
                {name: KnownPool(one.traits) for name, one in built.items()},
            )
            for number in range(scenario.ingress)
        ]
        self._pools = {
            name: SimulatedPool(one, [each.pools[name] for each in self._ingress])
            for name, one in built.items()
        }
        self._delays = {
            name: Delays(pool.autoscaling) for name, pool in scenario.pools.items() if pool.autoscaling
        }
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
        for ingress in self._ingress:
            first_s = scenario.router.report_period_s * (1 - ingress.number / len(self._ingress))
            self._at(first_s, partial(self._observe, ingress))
        source = scenario.arrivals
        for _ in range(min(source.concurrency, source.num_requests) if isinstance(source, Closed) else 1):
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
        arrival = self._records[number].arrival
        patience_s = self._scenario.efforts.of(arrival.effort).patience_s
        features = RequestFeatures(
            arrival.effort,
            prompt_tokens=arrival.prompt_tokens,
            stream=True,
            first_token_deadline_s=None if patience_s is None else arrival.at_s + patience_s,
        )
        waiting = Waiting(features, arrival.at_s, number, tried)
        ingress = self._ingress_of(number)
        try:
            decision, left = ingress.admission.offer(waiting, ingress.snapshots(), self._now_s)
        except ApiError as error:
            self._end(number, refusal(error))
            return
        if left:
            self._carry_out(left)
        if decision.waits:
            self._look(ingress, decision.pool)
        else:
            self._carry_out(Turn(waiting, decision))

    def _ingress_of(self, number: int) -> Ingress:
        """Return the ingress replica that has a request: they take turns."""
        return self._ingress[number % len(self._ingress)]

    def _look(self, ingress: Ingress, pool: str) -> None:
        """Let those go on that wait for a place and have their turn."""
        while turn := ingress.admission.next_turn(pool, ingress.snapshots(), self._now_s):
            self._carry_out(turn)

    def _carry_out(self, turn: Turn[int]) -> None:
        number, outcome = turn.waiting.ticket, turn.outcome
        if isinstance(outcome, ApiError):
            self._end(number, refusal(outcome))
            return
        record, pool = self._records[number], self._pools[outcome.pool]
        arrival, engine = record.arrival, pool.engines[outcome.replica]
        record.pool, record.reason = outcome.pool, outcome.reason
        try:
            engine.add(Sequence(number, arrival.prompt_tokens, arrival.answer_tokens), self._now_s)
        except ValueError:
            self._end(number, Outcome.REFUSED)
            return
        self._ingress_of(number).pools[outcome.pool].lease(engine.name, arrival.prompt_tokens)
        self._schedule(pool, engine)

    def _schedule(self, pool: SimulatedPool, engine: SimulatedEngine) -> None:
        """Look at the engine again when its plan ends, unless it has another one by then."""
        if engine.ends_s < math.inf:
            version = engine.version
            self._at(engine.ends_s, partial(self._advance, pool, engine, version))

    def _advance(self, pool: SimulatedPool, engine: SimulatedEngine, version: int) -> None:
        if engine.version != version:
            return
        name, done = pool.built.traits.name, engine.advance()
        self._schedule(pool, engine)
        for sequence in done:
            self._records[sequence.number].first_s = sequence.first_s
            ingress = self._ingress_of(sequence.number)
            ingress.pools[name].release(engine.name)
            ingress.admission.ended(name, self._now_s)
            self._end(sequence.number, Outcome.ANSWERED)
        if engine.is_draining and not engine.num_ongoing:
            pool.stop(engine, self._now_s)
        for number in sorted({sequence.number % len(self._ingress) for sequence in done}):
            self._look(self._ingress[number], name)

    def _end(self, number: int, outcome: Outcome) -> None:
        record = self._records[number]
        assert record.outcome is None, f"request {number} ended twice"
        record.outcome, record.end_s = outcome, self._now_s
        self._last_s = self._now_s
        self._num_open -= 1
        self._progress(1)
        if self._is_closed:
            self._next_arrival()

    def _observe(self, ingress: Ingress) -> None:
        others = [one.admission for one in self._ingress if one is not ingress]
        for name, pool in self._pools.items():
            known = ingress.pools[name]
            for engine in pool.engines.values():
                known.hear(engine, self._now_s)
            known.queued_elsewhere(sum(len(one.queues[name]) for one in others))
        for name in self._pools:
            self._look(ingress, name)
        self._at(self._now_s + self._scenario.router.report_period_s, partial(self._observe, ingress))

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

    def _started(self, pool: SimulatedPool, since_s: float) -> None:
        pool.num_starting -= 1
        pool.start(self._now_s, since_s)

    def _scale(self, name: str) -> None:
        pool, scaling = self._pools[name], self._scenario.pools[name].autoscaling
        assert scaling is not None
        serving = [engine for engine in pool.engines.values() if not engine.is_draining]
        there = len(serving) + pool.num_starting
        more = self._delays[name].follow(there, self._wanted(pool, scaling, there), self._now_s) - there
        for _ in range(more):
            pool.num_starting += 1
            self._at(self._now_s + scaling.start_s, partial(self._started, pool, self._now_s))
        # One serves on, whatever is still to start.
        num_leaving = min(max(0, -more), len(serving) - 1)
        for engine in sorted(serving, key=lambda one: one.num_ongoing)[: max(0, num_leaving)]:
            engine.is_draining = True
            pool.tell(engine, self._now_s)
            if not engine.num_ongoing:
                pool.stop(engine, self._now_s)
        self._at(self._now_s + scaling.period_s, partial(self._scale, name))

    def _wanted(self, pool: SimulatedPool, scaling: Autoscaling, there: int) -> int:
        """Return how many replicas a pool should have that has, or will have, `there`."""
        num_ongoing = sum(engine.num_ongoing for engine in pool.engines.values())
        if scaling.target_ongoing_requests is not None:
            return by_requests(num_ongoing, scaling)
        rules, traits = self._rules, pool.built.traits
        efforts = sorted(traits.efforts)
        promises = (Promise(rules.targets.get(e, NO_TARGETS), rules.answer_tokens[e]) for e in efforts)
        scale = Scale(
            tuple(promises),
            scaling.min_replicas,
            scaling.max_replicas,
            traits.max_num_seqs,
            pool.built.table,
            rules.hysteresis,
        )
        reports = [engine.report() for engine in pool.engines.values()]
        num_queued = sum(len(one.admission.queues[traits.name]) for one in self._ingress)
        return scale.wanted(there, num_ongoing, reports, num_queued)


def simulate(scenario: Scenario, progress: Callable[[int], object] = lambda _: None) -> Result:
    """Play a scenario. Raises ConfigError if a pool cannot run, or a trace cannot be read."""
    return Simulation(scenario, progress).run()
