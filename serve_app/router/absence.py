"""What becomes of a request that no replica can take now: is there one to wait for, or why is there none?"""

from serve_app.errors import FloorKept, NoReplica
from serve_app.router.case import Case, Homes
from serve_app.router.filters import awaited, healthy, places
from serve_app.rules import Rules
from serve_app.types import Decision


def to_wait_for(case: Case, homes: Homes, rules: Rules) -> Decision | None:
    """Return that the request waits for a replica that may soon be heard of again, at home first, or None."""
    for pool in (*homes.home, *(homes.away if _may_leave(homes, rules) else ())):
        for replica in pool.replicas:
            if awaited(replica, rules, case.now_s, case.tried):
                return Decision(pool.name, replica.replica, homes.reason, waits=True)
    return None


def nothing_left(case: Case, homes: Homes, rules: Rules) -> NoReplica | FloorKept:
    """Return why there are no candidates: nobody is there, or what is there is kept for others."""
    effort, able = case.features.effort, (*homes.home, *homes.away)
    num_healthy = {pool.name: len(healthy(pool, rules, case.now_s, case.tried)) for pool in able}
    counts = ", ".join(f"{name}: {number}" for name, number in num_healthy.items())
    message = f"no healthy replica for reasoning_effort {effort.value!r} (healthy replicas: {counts})"
    away = homes.away if _may_leave(homes, rules) else ()
    kept = next((pool for pool in away if pool.efforts and num_healthy[pool.name]), None)
    if kept is None:
        return NoReplica(message)
    most = int(places(kept, effort, rules))
    return FloorKept(
        f"{message}; a replica of pool {kept.name!r} takes at most {most} of its {kept.max_num_seqs} "
        f"requests from elsewhere, and has them",
        pool=kept.name,
    )


def _may_leave(homes: Homes, rules: Rules) -> bool:
    return rules.spill_over or not homes.home
