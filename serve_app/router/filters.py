"""Which pools and replicas may a request go to? Each filter has a name, which is what a refusal says.

Pools may be refused for good, or be kept only as long as there is nothing better: what a request's length
decides rests on an estimate, and vLLM's own answer about it is exact.
"""

from collections.abc import Collection

from serve_app.rules import Rules
from serve_app.types import Effort, PoolSnapshot, ReplicaSnapshot, RequestFeatures, Shape


def speculation_refused(pool: PoolSnapshot, features: RequestFeatures, rules: Rules) -> tuple[str, ...]:
    """Return the fields and shapes of the request that a pool should not get, since it has a draft head."""
    if not pool.speculates:
        return ()
    fields = () if pool.biases_drafts else features.plain_decoding
    shapes: Collection[Shape] = features.shapes & rules.avoid_speculation if rules.avoid_speculation else ()
    return (*fields, *sorted(shapes))


def lacks(pool: PoolSnapshot, features: RequestFeatures) -> str | None:
    """Return what the request needs and a pool does not have: its route, its effort, or None."""
    if pool.routes is not None and features.route is not None and features.route not in pool.routes:
        return "route"
    return None if features.effort in pool.serves else "effort"


def too_long(pool: PoolSnapshot, features: RequestFeatures) -> str | None:
    """Return which of a pool's lengths the request may outgrow: its context, its draft head's, or None."""
    num_tokens = features.prompt_tokens + (features.max_tokens or 0)
    if pool.max_model_len is not None and num_tokens > pool.max_model_len:
        return "context"
    if pool.draft_max_len is not None and num_tokens > pool.draft_max_len:
        return "draft-limit"
    return None


def unavailable(
    replica: ReplicaSnapshot, rules: Rules, now_s: float, tried: Collection[str] = ()
) -> str | None:
    """Return why a replica gets nothing now, or None.

    It is silent, broken (its breaker is open), draining, or has failed this request.
    """
    is_silent = now_s - replica.reported_at_s > rules.max_age_s
    return "silent" if is_silent else _out_of_use(replica, tried)


def awaited(replica: ReplicaSnapshot, rules: Rules, now_s: float, tried: Collection[str] = ()) -> bool:
    """Whether a replica that gets nothing now is worth waiting for: silent, but not for long, and no more."""
    is_late = rules.max_age_s < now_s - replica.reported_at_s <= rules.max_silence_s
    return is_late and _out_of_use(replica, tried) is None


def _out_of_use(replica: ReplicaSnapshot, tried: Collection[str]) -> str | None:
    if replica.is_broken:
        return "broken"
    if replica.report.is_draining:
        return "draining"
    return "tried" if tried and replica.report.replica in tried else None


def reachable(pool: PoolSnapshot, rules: Rules, now_s: float, tried: Collection[str] = ()) -> bool:
    """Whether a pool has a replica that is available, or worth waiting for."""
    return bool(healthy(pool, rules, now_s, tried)) or any(
        awaited(replica, rules, now_s, tried) for replica in pool.replicas
    )


def healthy(
    pool: PoolSnapshot, rules: Rules, now_s: float, tried: Collection[str] = ()
) -> list[ReplicaSnapshot]:
    """Keep the replicas of a pool that are available, in their order."""
    return [replica for replica in pool.replicas if unavailable(replica, rules, now_s, tried) is None]


def places(pool: PoolSnapshot, effort: Effort, rules: Rules) -> float:
    """Return how many requests of `effort` from another home a replica of the pool may hold, all told.

    The rest of its places is the floor of the pool's own efforts.
    """
    floor = max((rules.floors.get(own, 0.0) for own in pool.efforts if own is not effort), default=0.0)
    return pool.max_num_seqs * (1.0 - floor)


def floored(replica: ReplicaSnapshot, num_places: float) -> str | None:
    """Return "floor" where one more request would take a place that is kept free, or None."""
    return "floor" if replica.load + 1 > num_places else None


def full(replica: ReplicaSnapshot, pool: PoolSnapshot, rules: Rules) -> str | None:
    """Return "full" where one more request would have to wait for a place in the engine's batch, or None."""
    return "full" if replica.load + 1 > pool.max_num_seqs * rules.admission.places else None
