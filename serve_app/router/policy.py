"""Which replica of which pool takes a request, and why? Arithmetic on plain values, no I/O, no clock."""

from collections.abc import Collection, Iterable, Mapping
from random import Random

from parallel.step_table import StepTable
from serve_app.errors import InvalidRequest, NoReplica
from serve_app.types import (
    Decision,
    PoolSnapshot,
    Reason,
    ReplicaSnapshot,
    RequestFeatures,
    Rules,
)


def healthy(
    pool: PoolSnapshot, rules: Rules, now_s: float, tried: Collection[str] = ()
) -> list[ReplicaSnapshot]:
    """Keep the replicas that reported lately and have not failed this request yet."""
    return [r for r in pool.replicas if now_s - r.reported_at_s <= rules.max_age_s and r.replica not in tried]


def least_loaded(replicas: Iterable[ReplicaSnapshot], rng: Random) -> ReplicaSnapshot:
    """Pick the replica with the fewest requests in flight; equals are drawn by lot."""
    candidates = list(replicas)
    lowest = min(r.load for r in candidates)
    return rng.choice([r for r in candidates if r.load == lowest])


class Policy:
    """The routing policy of one observer, an ingress replica or a simulated one.

    `speeds`: what is predicted of each pool's engines, by the pool's name. The same calls with the
    same `rng` give the same decisions.
    """

    def __init__(self, rules: Rules, speeds: Mapping[str, StepTable], rng: Random) -> None:
        self.rules = rules
        self._speeds = speeds
        self._rng = rng

    def decide(
        self,
        features: RequestFeatures,
        pools: Collection[PoolSnapshot],
        now_s: float,
        tried: Collection[str] = (),
    ) -> Decision:
        """Choose among the pools that serve the request's effort, then, with spill_over, among the others.

        `now_s` is on the clock of the snapshots' `reported_at_s`. `tried`: replicas that failed this
        request before its first byte. Raises InvalidRequest when no pool could ever serve it, NoReplica
        when nothing is left; that message names the effort and every pool's count of healthy replicas.
        """
        rules, rng = self.rules, self._rng
        able = [pool for pool in pools if not (features.plain_decoding and pool.speculates)]
        if pools and not able:
            fields = ", ".join(features.plain_decoding)
            names = ", ".join(pool.name for pool in pools)
            raise InvalidRequest(
                f"{fields}: not available with speculation, and every pool speculates ({names})",
                param=features.plain_decoding[0],
            )
        homes = [pool for pool in able if features.effort in pool.efforts]
        home, away = (
            [(pool, replica) for pool in group for replica in healthy(pool, rules, now_s, tried)]
            for group in (homes, [pool for pool in able if pool not in homes])
        )
        may_leave_home = rules.spill_over or not homes
        candidates = home or (away if may_leave_home else [])
        if not candidates:
            counts = ", ".join(f"{pool.name}: {len(healthy(pool, rules, now_s, tried))}" for pool in able)
            raise NoReplica(
                f"no healthy replica for reasoning_effort {features.effort.value!r} "
                f"(healthy replicas: {counts})"
            )
        chosen = least_loaded([replica for _, replica in candidates], rng)
        pool = next(pool for pool, replica in candidates if replica is chosen)
        return Decision(pool.name, chosen.replica, _reason(bool(homes), bool(home), bool(tried)))


def _reason(has_home: bool, is_home: bool, is_retry: bool) -> Reason:
    if not has_home:
        return Reason.PLAIN_DECODING
    if not is_home:
        return Reason.NO_HEALTHY_REPLICA
    return Reason.REPLICA_FAILED if is_retry else Reason.EFFORT
