"""Which replica of which pool takes a request, and why? Arithmetic on plain values, no I/O."""

from collections.abc import Collection, Iterable
from random import Random

from serve_app.errors import NoReplica
from serve_app.types import (
    Decision,
    PoolSnapshot,
    Reason,
    ReplicaSnapshot,
    RequestFeatures,
    Rules,
)


def healthy(pool: PoolSnapshot, rules: Rules, tried: Collection[str] = ()) -> list[ReplicaSnapshot]:
    """Keep the replicas that reported lately and have not failed this request yet."""
    return [r for r in pool.replicas if r.age_s <= rules.max_age_s and r.replica not in tried]


def least_loaded(replicas: Iterable[ReplicaSnapshot], rng: Random) -> ReplicaSnapshot:
    """Pick the replica with the fewest requests in flight; equals are drawn by lot."""
    candidates = list(replicas)
    lowest = min(r.load for r in candidates)
    return rng.choice([r for r in candidates if r.load == lowest])


def decide(
    features: RequestFeatures,
    pools: Iterable[PoolSnapshot],
    rules: Rules,
    rng: Random,
    tried: Collection[str] = (),
) -> Decision:
    """Choose among the pools that serve the request's effort, then, with spill_over, among the others.

    `tried`: replicas that failed this request before its first byte. Raises NoReplica when nothing
    is left; its message names the effort and every pool's count of healthy replicas.
    """
    usable = {pool.name: (pool, healthy(pool, rules, tried)) for pool in pools}
    home = [replica for pool, rs in usable.values() if features.effort in pool.efforts for replica in rs]
    away = [replica for pool, rs in usable.values() if features.effort not in pool.efforts for replica in rs]
    candidates = home or (away if rules.spill_over else [])
    if not candidates:
        counts = ", ".join(f"{name}: {len(rs)}" for name, (_, rs) in usable.items())
        raise NoReplica(
            f"no healthy replica for reasoning_effort {features.effort.value!r} (healthy replicas: {counts})"
        )
    chosen = least_loaded(candidates, rng)
    pool = next(name for name, (_, rs) in usable.items() if chosen in rs)
    if not home:
        reason = Reason.NO_HEALTHY_REPLICA
    elif tried:
        reason = Reason.REPLICA_FAILED
    else:
        reason = Reason.EFFORT
    return Decision(pool, chosen.replica, reason)
