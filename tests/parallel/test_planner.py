"""Layouts: which is best, in which order the others follow, and why the rest is out."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel.hardware import A100_80, B200, GPUS, H100, H200, Gpu
from parallel.memory import WeightFormat
from parallel.plan import ParallelPlan
from parallel.planner import INDISTINCT, Answer, answer
from parallel.question import Cluster, Objective, Question
from parallel.speed import Load, Speculation

FORMATS = [WeightFormat.BF16, WeightFormat.FP8, WeightFormat.NVFP4]


def ask(
    gpu: Gpu,
    gpus: int,
    weight_format: WeightFormat = WeightFormat.FP8,
    objective: Objective = "latency",
    concurrency: int = 8,
    nodes: int = 1,
) -> Answer:
    """The answer to a question with a draft head where latency counts."""
    speculation = Speculation() if objective == "latency" else None
    cluster = Cluster(gpu, gpus, nodes)
    return answer(Question(cluster, weight_format, 262_144, objective, Load(concurrency), speculation))


def test_two_h200_are_two_replicas() -> None:
    """The model fits on one: two engines do as well as one over both, and share nothing."""
    best = ask(H200, 2).best
    assert best
    assert (best.plan, best.replicas) == (ParallelPlan(), 2)


def test_two_h100_are_one_replica() -> None:
    """The model does not fit on one, and both are needed."""
    found = ask(H100, 2)
    assert found.best
    assert (found.best.plan, found.best.replicas) == (ParallelPlan(tp=2), 1)
    assert [refusal.layout for refusal in found.refusals] == ["tp 1"]


def test_bf16_on_two_h100_is_refused_with_what_would_fit() -> None:
    """Every layout has its reason, and there is a way out."""
    found = ask(H100, 2, WeightFormat.BF16)
    assert found.best is None
    assert len(found.refusals) == 5
    assert all(refusal.missing_bytes for refusal in found.refusals)
    assert found.would_fit == (
        "fp8 weights instead of bf16: tp 2",
        "nvfp4 weights instead of bf16: tp 2",
        "4xH100 instead of 2xH100: tp 4",
    )


def test_less_context_is_offered_first() -> None:
    """Where the weights fit, the longest context that fits is named, and it fits."""
    question = Question(Cluster(H200, 1), WeightFormat.FP8, 1_000_000, "throughput", Load(8))
    found = answer(question)
    assert found.would_fit[0] == "context up to 608898 tokens instead of 1000000"
    assert answer(replace(question, context_tokens=608_898)).best


def test_a_model_that_cannot_be_divided() -> None:
    """Three ranks divide neither heads nor experts: two of the GPUs are used."""
    found = ask(H100, 3)
    assert found.best
    assert found.best.num_gpus == 2
    assert "tp=3 does not divide num_attention_heads=32" in {refusal.reason for refusal in found.refusals}


def test_the_cheapest_leaves_gpus_alone() -> None:
    """For a small load fewer GPUs make a cheaper token, and more a faster one."""
    cost, throughput = (ask(H200, 8, objective=objective) for objective in ("cost", "throughput"))
    assert cost.best
    assert throughput.best
    assert cost.best.num_gpus < throughput.best.num_gpus
    assert cost.best.gpu_s_per_token < throughput.best.gpu_s_per_token


def test_over_two_nodes() -> None:
    """BF16 on two nodes of two H100 is one replica over both; with NVLink in one node it would be faster."""
    far, near = ask(H100, 2, WeightFormat.BF16, nodes=2).best, ask(H100, 4, WeightFormat.BF16).best
    assert far
    assert near
    assert (far.plan.nodes, far.plan.world_size) == (2, 4)
    assert near.speed.user_tokens_per_s > far.speed.user_tokens_per_s


def test_fewer_requests_than_replicas_leave_some_idle() -> None:
    """One request on two replicas has the tokens of one."""
    best = ask(H200, 2, concurrency=1).best
    assert best
    assert best.total_tokens_per_s == pytest.approx(best.speed.total_tokens_per_s)


def test_routing_alike_is_faster() -> None:
    """A batch whose tokens agree on experts reads fewer of them."""
    question = Question(Cluster(H200, 1), WeightFormat.FP8, 262_144, "throughput", Load(32))
    uniform, alike = answer(question).best, answer(replace(question, correlation=0.5)).best
    assert uniform
    assert alike
    assert alike.total_tokens_per_s > uniform.total_tokens_per_s


def test_requests_beyond_the_room_wait() -> None:
    """No more run at once than there is cache for."""
    best = ask(H200, 1, objective="throughput", concurrency=5000).best
    assert best
    assert best.running == pytest.approx(best.kv_tokens / 1536)


@settings(max_examples=30)
@given(
    gpu=st.sampled_from(list(GPUS.values())),
    gpus=st.integers(1, 8),
    weight_format=st.sampled_from(FORMATS),
    objective=st.sampled_from(["latency", "throughput", "cost"]),
    concurrency=st.integers(1, 4096),
)
def test_answers_hold_together(
    gpu: Gpu, gpus: int, weight_format: WeightFormat, objective: Objective, concurrency: int
) -> None:
    """The best may be the highest, the others fall, and no GPU is used twice."""
    found = ask(gpu, gpus, weight_format, objective, concurrency)
    values = [layout.value(objective) for layout in found.layouts]
    assert values[1:] == sorted(values[1:], reverse=True)
    assert not values or values[0] >= INDISTINCT * max(values)
    assert all(layout.num_gpus <= gpus for layout in found.layouts)
    assert all(layout.kv_tokens // layout.plan.dp >= 262_144 for layout in found.layouts)
    assert bool(found.layouts) != bool(found.would_fit)


@pytest.mark.parametrize("gpu", [A100_80, H100, H200, B200])
@pytest.mark.parametrize("weight_format", FORMATS)
def test_more_gpus_never_make_it_worse(gpu: Gpu, weight_format: WeightFormat) -> None:
    """Of more GPUs some can be left alone: the highest value does not fall with their number."""
    highest = [
        max((layout.value("throughput") for layout in found.layouts), default=0.0)
        for found in (ask(gpu, gpus, weight_format, "throughput", 256) for gpus in (1, 2, 4, 8))
    ]
    assert highest == sorted(highest)
