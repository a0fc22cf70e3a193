"""A case is read from its words, refused if it cannot be, and becomes engine arguments."""

import pytest

from parallel.bench.case import Case, share, with_extra
from parallel.engine_arguments import ENGINE_NAMES
from parallel.plan import ParallelPlan


@pytest.mark.parametrize(
    ("layout", "replicas", "plan"),
    [
        ("tp1", 1, ParallelPlan()),
        ("2xtp1", 2, ParallelPlan()),
        ("tp2", 1, ParallelPlan(tp=2)),
        ("tp2+ep", 1, ParallelPlan(tp=2, ep=True)),
        ("dp2+ep", 1, ParallelPlan(dp=2, ep=True)),
        ("4xtp2+dp2+ep", 4, ParallelPlan(tp=2, dp=2, ep=True)),
    ],
)
def test_layout(layout: str, replicas: int, plan: ParallelPlan) -> None:
    """Replicas, tp, dp, ep, in this order; any number of GPUs."""
    case = Case(layout)
    assert (case.replicas, case.plan) == (replicas, plan)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layout": "2x"}, "layout='2x' must be as"),
        ({"layout": "ep2"}, "layout='ep2' must be as"),
        ({"layout": ""}, "layout='' must be as"),
        ({"layout": "tp0"}, "tp=0 must be"),
        ({"layout": "tp1", "routing": "skewed"}, "routing='skewed' must be one of"),
        ({"layout": "tp1", "draft_tokens": -1}, "draft_tokens=-1 must not be negative"),
        ({"layout": "tp1", "draft_tokens": 1, "acceptance": 2.6}, "acceptance=2.6 must be from 1 to"),
        ({"layout": "tp2", "redundant_experts": 8}, r"redundant_experts=8 needs \+ep in layout='tp2'"),
    ],
)
def test_refused(values: dict[str, object], message: str) -> None:
    """One line that names the field and both values."""
    with pytest.raises(ValueError, match=message):
        Case(**values)  # type: ignore[arg-type]


def test_arguments() -> None:
    """All of them are arguments that vLLM's engine has."""
    case = Case("tp2+ep", 3, 2.6, "zipf", 16, "steady")
    found = case.arguments(model="target", draft="eagle", dummy=True, cuda=True)
    assert set(found) <= ENGINE_NAMES
    assert found["tensor_parallel_size"] == 2
    assert found["enable_expert_parallel"] is True
    assert found["load_format"] == "dummy"
    assert found["moe_backend"] == "triton"
    assert found["speculative_config"]["synthetic_acceptance_length"] == 2.6
    assert found["eplb_config"] == {"num_redundant_experts": 16, "policy": "steady"}
    assert case.key == "tp2+ep, k=3, acceptance=2.6, zipf routing, 16 redundant, steady"
    plain = Case("tp1").arguments(model="target", draft=None, dummy=False, cuda=False)
    assert not {"moe_backend", "speculative_config", "eplb_config"} & set(plain)


def test_environment() -> None:
    """Two ranks on GPUs need a stream less; routing is simulated only if it is asked for."""
    two = Case("tp2", routing="sticky").environment(cuda=True)
    assert two["VLLM_DISABLE_SHARED_EXPERTS_STREAM"] == "1"
    assert two["VLLM_MOE_ROUTING_SIMULATION_STRATEGY"] == "venturi_sticky"
    uniform = Case("tp1", routing="uniform").environment(cuda=True)
    assert uniform["VLLM_MOE_ROUTING_SIMULATION_STRATEGY"] == "uniform_random"
    assert set(Case("tp1").environment(cuda=False)) == {"VLLM_NO_USAGE_STATS"}


def test_share() -> None:
    """Requests are dealt out evenly, and none is lost."""
    assert [share(9, part, 2) for part in range(2)] == [5, 4]
    assert [share(1, part, 2) for part in range(2)] == [1, 0]


def test_extra() -> None:
    """An operator's own go on top; mappings are merged."""
    merged = with_extra({"a": 1, "eplb_config": {"x": 1}}, {"a": 2, "eplb_config": {"y": 2}})
    assert merged == {"a": 2, "eplb_config": {"x": 1, "y": 2}}
