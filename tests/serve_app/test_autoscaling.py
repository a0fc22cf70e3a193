"""What Ray Serve is given to scale a pool by, and what it is answered."""

import json
from typing import Any, cast

import pytest
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve.autoscaling_policy import _apply_autoscaling_config
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from serve_app.autoscaling import POLICY, TargetPolicy, policy_arguments
from serve_app.config import parse
from serve_app.engine.traits import step_tables
from tests.serve_app.samples import args

T = "pools.throughput"
SETTINGS = parse(
    args(
        {
            f"{T}.autoscaling": {"min_replicas": 1, "max_replicas": 8},
            f"{T}.engine": {"max_num_seqs": 10},
            "router.targets": {"none": {"ttft_s": 1.0}},
        }
    )
)


def context(current: int, num_requests: float, metrics: Any = None) -> AutoscalingContext:
    """Return Serve's context, as its controller makes it on every round."""
    return AutoscalingContext(
        deployment_id=None,
        deployment_name="throughput",
        app_name="venturi",
        current_num_replicas=current,
        target_num_replicas=current,
        running_replicas=[],
        total_num_requests=lambda: num_requests,
        total_queued_requests=0.0,
        aggregated_metrics=lambda: metrics or {},
        raw_metrics=None,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=8,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=None,
        config=AutoscalingConfig(max_replicas=8, upscale_delay_s=0, downscale_delay_s=600),
    )


def policy() -> TargetPolicy:
    """Return the policy as the controller makes it: from its path, and arguments that were JSON."""
    arguments = json.loads(json.dumps(policy_arguments(SETTINGS, "throughput")))
    made = _resolve_policy_callable(AutoscalingPolicy(policy_function=POLICY, policy_kwargs=arguments))
    assert type(made).__name__ == "TargetPolicy"
    return cast(TargetPolicy, made)


@pytest.mark.parametrize(("num_requests", "replicas"), [(0, 1), (6, 1), (9, 2), (20.4, 4), (1000, 8)])
def test_by_places(num_requests: float, replicas: int) -> None:
    """Ten places a replica, and a wait of a second at most."""
    assert policy()(context(1, num_requests)) == (replicas, {})


def test_serve_follows_it_after_its_delays() -> None:
    """Up at once here, down only after a while; Serve wraps our policy in this."""
    follows = _apply_autoscaling_config(policy())
    assert follows(context(1, 20.4))[0] == 4
    assert follows(context(4, 0))[0] == 4


def test_what_replicas_say_counts() -> None:
    """Prompts that wait ask for more replicas, by how fast they are read."""
    said = {"prefill_tokens": {"a": 30_000.4, "b": 9_999.6}, "something_else": {"a": 1.0}}
    assert policy()(context(2, 4, said)) == (7, {})
    fast = said | {"prefill_s": {"a": 0.02}, "prefill_mean_tokens": {"a": 1000.0}}
    assert policy()(context(2, 4, fast))[0] < 7


def test_what_waits_at_the_ingress_counts_once() -> None:
    """All replicas repeat it; one that has not heard of late does not hide it."""
    alone, repeated = (
        policy()(context(2, 6, {"num_queued": said}))
        for said in ({"a": 60.2}, {"a": 60.2, "b": 60.2, "c": 0.0})
    )
    assert alone == repeated
    assert policy()(context(2, 6))[0] < alone[0] < 8


def test_a_pool_that_sleeps() -> None:
    """One call in a handle's queue wakes it; without any it goes back to sleep after its delay."""
    none = {"min_replicas": 0, "max_replicas": 8}
    arguments = policy_arguments(parse(args({f"{T}.autoscaling": none})), "throughput")
    follows = _apply_autoscaling_config(TargetPolicy(**arguments))
    assert [follows(context(0, number))[0] for number in (0, 1)] == [0, 1]
    assert TargetPolicy(**arguments)(context(1, 0))[0] == 0


def test_the_table_is_the_pools() -> None:
    """Of a known GPU it is the cost model's, and comes out as it went in."""
    changes = {
        f"{T}.gpu": "H200",
        f"{T}.autoscaling": {"max_replicas": 8},
        f"{T}.engine": {"max_num_seqs": 100},
        "model.path": "not-here",
        "model.weight_format": "fp8",
    }
    settings = parse(args(changes))
    table = step_tables(settings)["throughput"]
    rebuilt = TargetPolicy(**policy_arguments(settings, "throughput"))._scale.table
    assert [rebuilt.step(n) for n in range(1, 101)] == pytest.approx([table.step(n) for n in range(1, 101)])
    assert rebuilt.prefill(1000) == table.prefill(1000)
