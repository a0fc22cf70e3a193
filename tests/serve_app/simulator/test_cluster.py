"""Is no request lost or served twice, is a run repeatable, and does it agree with queueing theory?"""

import math
from statistics import fmean

import pytest

from serve_app.simulator.cluster import Simulation, simulate
from serve_app.simulator.ingress import Ingress
from serve_app.simulator.outcome import times_of
from serve_app.simulator.record import Outcome, Record
from tests.serve_app.simulator.small import EAGLE, TWO_POOLS, scenario

BURSTS = {"kind": "bursts", "rate_per_s": 2, "every_s": 5, "size": 60}
BY_TARGETS = {"max_replicas": 3, "upscale_delay_s": 2, "downscale_delay_s": 4, "period_s": 2, "start_s": 3}
BY_REQUESTS = BY_TARGETS | {"target_ongoing_requests": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"arrivals": {"kind": "bursts", "rate_per_s": 2, "every_s": 5, "size": 30}},
        {"arrivals": {"kind": "closed", "concurrency": 12, "num_requests": 60}},
        {"failures": [{"at_s": 6, "pool": "latency", "restart_s": 5}, {"at_s": 9, "pool": "throughput"}]},
        {"ingress": 3, "failures": [{"at_s": 6, "pool": "latency", "restart_s": 5}]},
        {"router": {"spill_over": False}, "failures": [{"at_s": 6, "pool": "latency", "restart_s": 5}]},
        {"pools": {name: pool | {"autoscaling": BY_REQUESTS} for name, pool in TWO_POOLS.items()}},
        {"pools": {name: pool | {"autoscaling": BY_TARGETS} for name, pool in TWO_POOLS.items()}},
    ],
    ids=[
        "poisson",
        "bursts",
        "closed",
        "failures",
        "three ingress replicas",
        "no spill-over",
        "scaled by requests",
        "scaled by targets",
    ],
)
def test_every_request_ends_exactly_once(changes: dict[str, object]) -> None:
    """Its times are in order, and one outcome is its own; the simulation asserts that it gets no second."""
    ended: list[int] = []
    result = simulate(scenario(**changes), ended.append)
    assert sum(ended) == len(result.records) > 30
    for record in result.records:
        assert record.outcome is not None
        assert record.end_s >= record.arrival.at_s
        if record.outcome is Outcome.ANSWERED:
            assert record.arrival.at_s < record.first_s <= record.end_s
    assert max(result.kv_most.values()) <= 1


def test_the_same_seed_gives_the_same_run() -> None:
    """To the last figure; another seed gives another."""
    first, again, other = (simulate(scenario(seed=seed)) for seed in (3, 3, 4))
    assert repr(first.records) == repr(again.records)
    assert repr(first.records) != repr(other.records)


def test_a_failure_breaks_answers_and_retries_what_had_not_begun() -> None:
    """With one replica and no spill-over, what comes until it is back is refused."""
    failures = [{"at_s": 6, "pool": "latency", "restart_s": 5}]
    source = {"kind": "bursts", "rate_per_s": 3, "every_s": 5.95, "size": 40}
    result = simulate(scenario(router={"spill_over": False}, failures=failures, arrivals=source))
    at_high = [record for record in result.records if record.arrival.effort == "high"]
    broken = [record for record in at_high if record.outcome is Outcome.BROKEN]
    assert broken
    assert {record.end_s for record in broken} == {6.0}
    retried = [record for record in at_high if record.retries]
    assert retried
    assert all(record.outcome is Outcome.REFUSED for record in retried)
    for record in at_high:
        if 6 < record.arrival.at_s < 11:
            assert record.outcome is Outcome.REFUSED
        elif record.arrival.at_s > 11:
            assert record.outcome is Outcome.ANSWERED
    assert all(r.outcome is Outcome.ANSWERED for r in result.records if r.arrival.effort == "none")


def test_with_spill_over_the_other_pool_serves_meanwhile() -> None:
    """The production policy says so, with its reason."""
    result = simulate(scenario(failures=[{"at_s": 6, "pool": "latency", "restart_s": 5}]))
    during = [r for r in result.records if r.arrival.effort == "high" and 6 < r.arrival.at_s < 11]
    assert during
    assert {(r.pool, r.reason) for r in during} == {("throughput", "no-healthy-replica")}


def test_autoscaling_adds_and_takes_away() -> None:
    """A replica holds its GPU from the moment that it begins to start, and none is taken with requests."""
    pools = {name: pool | {"autoscaling": BY_REQUESTS} for name, pool in TWO_POOLS.items()}
    source = {"kind": "square", "low_per_s": 0.2, "high_per_s": 20, "period_s": 40}
    fixed, scaled = (
        simulate(scenario(pools=one, arrivals=source, duration_s=80)) for one in (TWO_POOLS, pools)
    )
    assert all(record.outcome is Outcome.ANSWERED for record in scaled.records)
    assert sum(fixed.gpu_s.values()) < sum(scaled.gpu_s.values()) < 3 * sum(fixed.gpu_s.values())
    slow = [max(times_of(record)[2] for record in result.records) for result in (fixed, scaled)]
    assert slow[1] < slow[0]


def test_what_has_no_place_waits_at_the_ingress() -> None:
    """No engine is given more than its places, whatever comes at once."""
    most: list[int] = []

    class Watched(Simulation):
        def _observe(self, ingress: Ingress) -> None:
            most.append(max(e.num_ongoing for e in self._pools["latency"].engines.values()))
            super()._observe(ingress)

    result = Watched(scenario(arrivals=BURSTS)).run()
    assert max(most) == TWO_POOLS["latency"]["max_num_seqs"]
    assert all(record.outcome is Outcome.ANSWERED for record in result.records)


def test_a_full_queue_sheds() -> None:
    """What is more than may wait is shed, at once; the others are answered."""
    pools = {name: pool | {"max_queued_requests": 5} for name, pool in TWO_POOLS.items()}
    result = simulate(scenario(arrivals=BURSTS, pools=pools, router={"spill_over": False}))
    shed = [record for record in result.records if record.outcome is Outcome.SHED]
    assert shed
    assert all(record.end_s == record.arrival.at_s for record in shed)
    assert {record.outcome for record in result.records} == {Outcome.SHED, Outcome.ANSWERED}


def test_impatient_clients() -> None:
    """Who would wait too long is told so at once, or leaves the queue."""
    high = {"share": 0.5, "prompt": {"median": 512}, "answer": {"median": 128}}
    patient, hasty = (
        simulate(scenario(arrivals=BURSTS, efforts={"none": {"share": 0.5}, "high": high | more}))
        for more in ({}, {"patience_s": 1.0})
    )
    late = [record for record in hasty.records if record.outcome is Outcome.LATE]
    assert late
    assert all(record.arrival.effort == "high" for record in late)
    assert all(record.end_s - record.arrival.at_s <= 1.2 for record in late)

    def slowest_s(records: tuple[Record, ...]) -> float:
        return max(times_of(r)[0] for r in records if r.arrival.effort == "high" and r.outcome == "answered")

    assert slowest_s(hasty.records) < min(2.0, slowest_s(patient.records))


def one_at_a_time(rate_per_s: float, duration_s: float) -> Simulation:
    """One server with a fixed service time."""
    same = {"prompt": {"median": 512}, "answer": {"median": 32}}
    return Simulation(
        scenario(
            duration_s=duration_s,
            arrivals={"kind": "poisson", "rate_per_s": rate_per_s},
            efforts={"none": {"share": 1.0, **same}, "high": {"share": 0.0}},
            pools={"one": {"efforts": ["none", "high"], "max_num_seqs": 1}},
        )
    )


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_waiting_is_that_of_an_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: the mean wait is load * service / (2 (1 - load))."""
    service_s = min(times_of(record)[2] for record in one_at_a_time(0.5, 100).run().records)
    result = one_at_a_time(load / service_s, 6000 * service_s / load).run()
    wait_s = fmean(times_of(record)[2] for record in result.records) - service_s
    assert wait_s == pytest.approx(load * service_s / (2 * (1 - load)), rel=0.12)


def test_littles_law() -> None:
    """Requests in the engines, looked at now and then, are the rate times the time that each stays."""
    seen: list[int] = []

    class Watched(Simulation):
        def _observe(self, ingress: Ingress) -> None:
            seen.append(sum(e.num_ongoing for pool in self._pools.values() for e in pool.engines.values()))
            super()._observe(ingress)

    result = Watched(scenario(duration_s=300, arrivals={"kind": "poisson", "rate_per_s": 6})).run()
    total_s = [times_of(record)[2] for record in result.records]
    assert fmean(seen) == pytest.approx(len(total_s) / 300 * fmean(total_s), rel=0.05)


def test_a_draft_head_helps_where_the_model_says_so() -> None:
    """At 32 requests at once, an answer comes sooner with EAGLE than without."""
    closed = {"kind": "closed", "concurrency": 32, "num_requests": 64}
    pools = [{"one": {"efforts": ["none", "high"], "max_num_seqs": 32} | extra} for extra in ({}, EAGLE)]
    plain, eagle = (simulate(scenario(arrivals=closed, pools=one)).end_s for one in pools)
    assert math.isfinite(plain)
    assert eagle < 0.8 * plain


def test_autoscaling_by_targets() -> None:
    """Where one replica would be late it gets company, and keeps more of its requests in time than alone."""
    few = {name: pool | {"max_num_seqs": 4} for name, pool in TWO_POOLS.items()}
    scaled = {name: pool | {"autoscaling": BY_TARGETS} for name, pool in few.items()}
    busy = {"kind": "poisson", "rate_per_s": 12}
    alone, together = (simulate(scenario(pools=one, arrivals=busy, duration_s=60)) for one in (few, scaled))
    assert sum(together.gpu_s.values()) > sum(alone.gpu_s.values())
    late = [
        sum(record.first_s - record.arrival.at_s > 2.0 for record in run.records) for run in (alone, together)
    ]
    assert late[0] > 2 * late[1]


def test_ingress_replicas_know_of_each_others_queues() -> None:
    """Where home has few places and the other pool is slow, nobody waits much longer with four than with one.

    Each has a quarter of those that wait, and would take home to be as near as if those were all.
    """
    pools = {
        "throughput": {"efforts": ["none"], "max_num_seqs": 256},
        "latency": {"efforts": ["high"], "max_num_seqs": 4, **EAGLE},
    }
    busy = {"kind": "poisson", "rate_per_s": 12}
    waits_s = []
    for ingress in (1, 4):
        result = simulate(scenario(ingress=ingress, pools=pools, arrivals=busy, duration_s=120))
        waits_s.append(fmean(record.first_s - record.arrival.at_s for record in result.records))
    assert waits_s[1] < 1.5 * waits_s[0]
