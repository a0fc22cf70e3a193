"""A parallel plan: what it refuses, and what it tells vLLM and Ray Serve."""

import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.plan import ParallelPlan

ONE = ParallelPlan()
COUNTS = st.integers(min_value=1, max_value=16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tp": 0}, "tp=0 must be a whole number of at least 1"),
        ({"dp": -2}, "dp=-2 must be"),
        ({"nodes": 1.0}, "nodes=1.0 must be"),
        ({"tp": "2"}, "tp='2' must be"),
        ({"tp": True}, "tp=True must be"),
        ({"tp": 2, "ep": 1}, "ep=1 must be true or false"),
        ({"ep": True}, "ep=True needs more than one rank, but tp*dp=1*1=1"),
        ({"nodes": 2}, "nodes=2 does not divide tp*dp=1*1=1"),
        ({"tp": 4, "nodes": 3}, "nodes=3 does not divide tp*dp=4*1=4"),
        ({"tp": 2, "dp": 3, "nodes": 2}, "nodes=2 does not divide dp=3: a group of tp=2 would cross nodes"),
        ({"tp": 2, "dp": 2, "nodes": 4}, "nodes=4 does not divide dp=2"),
    ],
)
def test_refuses(fields: dict[str, Any], message: str) -> None:
    """A plan that cannot run is not built, and the error names the field and the values on both sides."""
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        ParallelPlan(**fields)


def test_is_frozen() -> None:
    """A plan stays as it was checked."""
    with pytest.raises(FrozenInstanceError):
        ONE.tp = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("plan", "world_size", "ep_size", "ranks_per_node"),
    [
        (ONE, 1, 1, 1),
        (ParallelPlan(tp=2), 2, 1, 2),
        (ParallelPlan(tp=2, ep=True), 2, 2, 2),
        (ParallelPlan(tp=2, dp=4, ep=True, nodes=2), 8, 8, 4),
        (ParallelPlan(tp=16, nodes=2), 16, 1, 8),
    ],
)
def test_derived_sizes(plan: ParallelPlan, world_size: int, ep_size: int, ranks_per_node: int) -> None:
    """Sizes follow from the four fields."""
    assert (plan.world_size, plan.ep_size, plan.ranks_per_node) == (world_size, ep_size, ranks_per_node)


@pytest.mark.parametrize(
    ("plan", "arguments"),
    [
        (ONE, {}),
        (ParallelPlan(tp=2), {"tensor_parallel_size": 2, "distributed_executor_backend": "mp"}),
        (
            ParallelPlan(dp=2, ep=True),
            {
                "data_parallel_size": 2,
                "enable_expert_parallel": True,
                "distributed_executor_backend": "mp",
            },
        ),
        (ParallelPlan(tp=2, nodes=2), {"tensor_parallel_size": 2, "distributed_executor_backend": "ray"}),
        (
            ParallelPlan(tp=2, dp=4, nodes=2),
            {
                "tensor_parallel_size": 2,
                "data_parallel_size": 4,
                "distributed_executor_backend": "ray",
                "data_parallel_backend": "ray",
                "data_parallel_size_local": 2,
            },
        ),
    ],
)
def test_engine_arguments(plan: ParallelPlan, arguments: dict[str, object]) -> None:
    """VLLM is told what differs from its defaults, and always the executor of more than one rank."""
    assert plan.engine_arguments() == arguments


@pytest.mark.parametrize(
    ("plan", "device", "bundles", "options"),
    [
        (ONE, "cpu", [{"CPU": 2.0}], {"num_cpus": 2.0}),
        (ONE, "gpu", [{"CPU": 2.0, "GPU": 1.0}], {"num_cpus": 2.0, "num_gpus": 1.0}),
        (ParallelPlan(tp=2), "cpu", [{"CPU": 4.0}], {"num_cpus": 4.0}),
        (ParallelPlan(tp=2, dp=2), "gpu", [{"CPU": 8.0, "GPU": 4.0}], {"num_cpus": 8.0, "num_gpus": 4.0}),
        (ParallelPlan(tp=2, nodes=2), "cpu", [{"CPU": 2.0, "GPU": 1.0}] * 2, {"num_cpus": 2.0}),
        (ParallelPlan(tp=2, nodes=2), "gpu", [{"CPU": 2.0, "GPU": 1.0}] * 2, {"num_cpus": 2.0}),
        (ParallelPlan(dp=2, nodes=2), "gpu", [{"CPU": 2.0}], {"num_cpus": 2.0}),
    ],
)
def test_bundles(plan: ParallelPlan, device: Any, bundles: list[dict[str, float]], options: Any) -> None:
    """One node: one bundle, all the actor's. Over nodes: a bundle a rank, or none where vLLM reserves."""
    assert plan.bundles(device, cpus_per_rank=2) == bundles
    assert plan.replica_options(device, cpus_per_rank=2) == options


@pytest.mark.parametrize("cpus", [0, -1, float("nan"), float("inf")])
def test_bundles_refuse_no_processor(cpus: float) -> None:
    """A rank without a share of a processor cannot be placed."""
    with pytest.raises(ValueError, match=f"cpus_per_rank={cpus!r} must be a finite number above 0"):
        ONE.bundles("cpu", cpus)


@pytest.mark.parametrize(
    ("plan", "strategy"),
    [(ONE, "STRICT_PACK"), (ParallelPlan(tp=2), "STRICT_PACK"), (ParallelPlan(tp=2, nodes=2), "PACK")],
)
def test_placement_strategy(plan: ParallelPlan, strategy: str) -> None:
    """A plan for one node may not be torn apart; one over nodes uses as few as hold it."""
    assert plan.placement_strategy == strategy


@pytest.mark.parametrize(
    ("plan", "model", "message"),
    [
        (
            ParallelPlan(tp=3),
            {"num_experts": 128, "num_attention_heads": 32, "expert_width": 2048},
            "tp=3 does not divide num_attention_heads=32",
        ),
        (
            ParallelPlan(tp=8, dp=2, ep=True),
            {"num_experts": 24, "num_attention_heads": 32, "expert_width": 2048},
            "ep_size=tp.dp=8.2=16 does not divide num_experts=24",
        ),
        (
            ParallelPlan(tp=2, dp=3),
            {"num_experts": 128, "num_attention_heads": 32, "expert_width": 2048},
            "tp.dp=2.3=6 does not divide expert_width=2048, as ep=False needs",
        ),
    ],
)
def test_model_that_cannot_be_divided(plan: ParallelPlan, model: dict[str, int], message: str) -> None:
    """Heads go over tp, experts or their width over all ranks; the error names both numbers."""
    with pytest.raises(ValueError, match=message):
        plan.check_model(**model)


@pytest.mark.parametrize(
    "plan", [ONE, ParallelPlan(tp=8, ep=True), ParallelPlan(tp=2, dp=4, ep=True, nodes=2)]
)
def test_model_that_can_be_divided(plan: ParallelPlan) -> None:
    """Mistral Small 4 fits the layouts it is served in."""
    plan.check_model(num_experts=128, num_attention_heads=32, expert_width=2048)


@given(tp=COUNTS, dp=COUNTS, ep=st.booleans(), nodes=COUNTS)
def test_every_plan_is_refused_or_consistent(tp: int, dp: int, ep: bool, nodes: int) -> None:
    """Whatever is asked for, a plan that exists adds up: ranks, devices and what vLLM hears agree."""
    try:
        plan = ParallelPlan(tp=tp, dp=dp, ep=ep, nodes=nodes)
    except ValueError:
        assert (tp * dp) % nodes or (dp > 1 and dp % nodes) or (ep and tp * dp == 1)
        return
    arguments = plan.engine_arguments()
    ranks = arguments.get("tensor_parallel_size", 1), arguments.get("data_parallel_size", 1)
    bundles = plan.bundles("gpu", 1)
    options = plan.replica_options("gpu", 1)

    assert plan.ranks_per_node * nodes == tp * dp
    assert dp == 1 or plan.ranks_per_node % tp == 0
    assert ranks == (tp, dp)
    assert sum(bundle.get("GPU", 0) for bundle in bundles) == (0 if nodes > 1 and dp > 1 else tp * dp)
    assert options["num_cpus"] <= bundles[0]["CPU"]
    assert options.get("num_gpus", 0) <= bundles[0].get("GPU", 0)
