"""Which states of the pools do the policy's tests start from?"""

from collections.abc import Collection
from dataclasses import replace
from random import Random

from serve_app.router.policy import Policy
from serve_app.rules import Rules
from serve_app.types import Decision, Effort, PoolSnapshot, ReplicaReport, ReplicaSnapshot, RequestFeatures

RULES = Rules(spill_over=True, max_age_s=2.0)
HOME_ONLY = Rules(spill_over=False, max_age_s=2.0)
NOW_S = 100.0
FRESH, LATE, STALE = 0.5, 2.5, 20.0


def replica(name: str, load: int, age_s: float) -> ReplicaSnapshot:
    """Return what is known of a replica with that many requests, from a report that old."""
    return ReplicaSnapshot(ReplicaReport(name, load), NOW_S - age_s)


def decide(
    features: RequestFeatures,
    pools: tuple[PoolSnapshot, ...],
    rules: Rules,
    rng: Random,
    tried: Collection[str] = (),
) -> Decision:
    """Return what a fresh policy decides."""
    return Policy(rules, {}, rng).decide(features, pools, NOW_S, tried)


def pool(name: str, effort: Effort, *replicas: tuple[str, int, float]) -> PoolSnapshot:
    """Return a pool for one effort; each replica is (name, load, age)."""
    return PoolSnapshot(name, frozenset({effort}), tuple(replica(*r) for r in replicas))


def throughput(*replicas: tuple[str, int, float]) -> PoolSnapshot:
    """Return the pool for effort none."""
    return pool("throughput", Effort.NONE, *replicas)


def latency(*replicas: tuple[str, int, float]) -> PoolSnapshot:
    """Return the pool for effort high."""
    return pool("latency", Effort.HIGH, *replicas)


NONE, HIGH = RequestFeatures(Effort.NONE), RequestFeatures(Effort.HIGH)


def speculating(pool: PoolSnapshot) -> PoolSnapshot:
    """Return the pool with a draft head."""
    return replace(pool, speculates=True)
