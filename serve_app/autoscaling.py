"""How does Ray Serve ask how many replicas a pool should have?

Serve's controller makes one `TargetPolicy` for each pool that scales by its targets, and asks it again and
again. Serve itself then waits `upscale_delay_s` or `downscale_delay_s` before it follows.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from parallel.step_table import StepTable, batches, straight
from serve_app.config import Settings
from serve_app.engine.traits import step_tables, traits
from serve_app.router.prediction import GUESS
from serve_app.router.replicas import Promise, Scale
from serve_app.rules import Targets
from serve_app.types import SCALING_COUNTS, SCALING_MEANS, SCALING_QUEUE, ReplicaReport

POLICY = "serve_app.autoscaling:TargetPolicy"
LOOK_BACK_S = 15.0
"""Over how long Serve takes the mean of what replicas say: little more than the 10 s between two pushes."""


class Context(Protocol):
    """What is read of Serve's AutoscalingContext."""

    target_num_replicas: int
    total_num_requests: float
    aggregated_metrics: Mapping[str, Mapping[Any, float]] | None
    """By name and replica: what `EngineReplica.record_autoscaling_stats` returns, lately."""


class TargetPolicy:
    """Serve's policy for one pool. The arguments are plain values, since they travel as JSON."""

    def __init__(
        self,
        promises: list[tuple[dict[str, float | None], float]],
        steps_s: list[dict[str, float]],
        prefill_base_s: float,
        prefill_token_s: float,
        **limits: Any,
    ) -> None:
        """`steps_s`: for 0, 1, ... draft tokens, seconds of a step by batch, written as a key of JSON."""
        rows = (straight({int(batch): seconds for batch, seconds in row.items()}) for row in steps_s)
        table = StepTable(tuple(rows), prefill_base_s, prefill_token_s)
        self._scale = Scale(
            tuple(Promise(Targets(**targets), answer_tokens) for targets, answer_tokens in promises),
            table=table,
            **limits,
        )

    def __call__(self, context: Context) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas, and no state."""
        metrics = context.aggregated_metrics or {}
        current, num_requests = context.target_num_replicas, context.total_num_requests
        return self._scale.wanted(current, num_requests, _reports(metrics), _num_queued(metrics)), {}


def policy_arguments(settings: Settings, pool_name: str) -> dict[str, Any]:
    """Return the arguments of a pool's TargetPolicy."""
    pool, rules = settings.pools[pool_name], settings.router.rules()
    assert pool.autoscaling is not None, f"pool {pool_name} does not scale"
    table, places = step_tables(settings).get(pool_name, GUESS), traits(settings, pool_name).max_num_seqs
    return {
        "promises": [(asdict(rules.targets[effort]), rules.answer_tokens[effort]) for effort in pool.efforts],
        "steps_s": [
            {str(batch): table.step(batch, draft_tokens) for batch in batches(places)}
            for draft_tokens in range(len(table.step_s))
        ],
        "prefill_base_s": table.prefill_base_s,
        "prefill_token_s": table.prefill_token_s,
        "least": pool.autoscaling.min_replicas,
        "most": pool.autoscaling.max_replicas,
        "max_num_seqs": places,
        "hysteresis": rules.hysteresis,
    }


def _reports(metrics: Mapping[str, Mapping[Any, float]]) -> list[ReplicaReport]:
    """Return what each replica said, of what Serve passes on by name: of whole numbers the mean over time."""
    said: dict[Any, dict[str, Any]] = defaultdict(dict)
    for name in (*SCALING_MEANS, *SCALING_COUNTS):
        for replica, value in metrics.get(name, {}).items():
            said[replica][name] = round(value) if name in SCALING_COUNTS else value
    return [ReplicaReport(str(replica), **values) for replica, values in said.items()]


def _num_queued(metrics: Mapping[str, Mapping[Any, float]]) -> int:
    """Return how many wait at the ingress: all replicas say the same, unless one has not heard of late."""
    return round(max(metrics.get(SCALING_QUEUE, {}).values(), default=0))
