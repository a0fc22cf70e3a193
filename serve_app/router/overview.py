"""What do the pools look like to this ingress replica now? Plain values, for people who watch."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from serve_app.router.filters import unavailable
from serve_app.rules import Rules
from serve_app.types import PoolSnapshot, ReplicaSnapshot


def overview(pools: Collection[PoolSnapshot], rules: Rules, now_s: float) -> list[dict[str, Any]]:
    """Return every pool with its replicas: the fields of their reports, and what was sent there since.

    `now_s` is on the clock of the snapshots' `reported_at_s`.
    """
    return [
        {
            "pool": pool.name,
            "efforts": sorted(pool.efforts),
            "speculates": pool.speculates,
            "max_num_seqs": pool.max_num_seqs,
            "max_model_len": pool.max_model_len,
            "replicas": [_row(replica, rules, now_s) for replica in pool.replicas],
        }
        for pool in pools
    ]


def _row(one: ReplicaSnapshot, rules: Rules, now_s: float) -> dict[str, Any]:
    report = one.report
    return asdict(report) | {
        "acceptance_length": report.acceptance_length if report.acceptance else None,
        "num_leased": one.num_leased,
        "leased_tokens": one.leased_tokens,
        "age_s": now_s - one.reported_at_s,
        # Why it gets nothing now, as `unavailable` calls it.
        "dropped_by": unavailable(one, rules, now_s),
    }
