"""One step: what it grows with, what it is bound by, and what parallel ranks change."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.cost import Efficiency, Engine, decode, draft_s, prefill_s, verify
from parallel.hardware import A100_80, B200, H100, H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from tests.bench.local import RESULTS

ONE = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
PLANS = st.sampled_from(
    [
        ParallelPlan(),
        ParallelPlan(tp=2),
        ParallelPlan(tp=2, ep=True),
        ParallelPlan(dp=2, ep=True),
        ParallelPlan(tp=2, dp=2),
        ParallelPlan(tp=8, nodes=2),
    ]
)
BATCHES = st.floats(min_value=1, max_value=4096)


def test_one_token_by_hand() -> None:
    """Perfect kernels and no launches: 4 experts, the dense parts and the head, read once."""
    engine = replace(ONE, efficiency=Efficiency(bandwidth=1, compute=1, layer_s=0))
    expert_bytes = 36 * 3 * 4096 * 2048
    step = decode(engine, 1, 0)
    assert step.experts_s == pytest.approx(4 * expert_bytes / 4.8e12)
    assert step.shared_s == pytest.approx(expert_bytes / 4.8e12, rel=0.05)
    assert step.head_s == pytest.approx(2 * 131_072 * 4096 / 4.8e12)
    assert step.total_s == pytest.approx(1.4e-3, rel=0.05)


@given(plan=PLANS, fewer=BATCHES, more=BATCHES, context=st.floats(0, 100_000))
def test_steps_grow_with_the_batch(plan: ParallelPlan, fewer: float, more: float, context: float) -> None:
    """More sequences or longer ones never make a step faster, whatever the layout."""
    fewer, more = sorted((fewer, more))
    engine = replace(ONE, plan=plan)
    assert decode(engine, fewer, context).total_s <= decode(engine, more, context).total_s * (1 + 1e-12)
    assert decode(engine, more, context).total_s <= decode(engine, more, 2 * context).total_s
    assert prefill_s(engine, 512, fewer, 8192) <= prefill_s(engine, 512, more, 8192) * (1 + 1e-12)


@given(batch=BATCHES, k=st.integers(1, 8))
def test_verifying_costs_between_one_step_and_one_for_each_token(batch: float, k: int) -> None:
    """Verified tokens share launches and weights, but choose experts of their own."""
    step_s = decode(ONE, batch, 1000).total_s
    assert step_s <= verify(ONE, batch, 1000, k).total_s <= (k + 1) * step_s


def test_verifying_is_dearest_where_experts_are_still_new() -> None:
    """At 4 sequences a verified token brings new experts along; at 512 they are all read anyway."""
    dearer = {n: verify(ONE, n, 700, 3).total_s / decode(ONE, n, 700).total_s for n in (4, 512)}
    assert dearer[4] > 1.4 * dearer[512]


def test_routing_alike_is_cheaper() -> None:
    """A batch whose tokens agree reads fewer experts."""
    assert decode(replace(ONE, correlation=0.5), 32, 700).experts_s < decode(ONE, 32, 700).experts_s


def test_a_second_gpu_buys_little_for_one_sequence() -> None:
    """Launches do not divide, and the ranks have to talk."""
    one, two = decode(ONE, 1, 700), decode(replace(ONE, plan=ParallelPlan(tp=2, ep=True)), 1, 700)
    assert two.launches_s == one.launches_s
    assert two.links_s > one.links_s == 0
    assert two.total_s > 0.9 * one.total_s


def test_whole_experts_leave_a_busiest_rank() -> None:
    """With ep one rank has more of the chosen experts than its half; slices are always even."""
    whole, slices = (decode(replace(ONE, plan=ParallelPlan(tp=2, ep=ep)), 8, 700) for ep in (True, False))
    assert whole.experts_s > slices.experts_s


def test_dp_groups_keep_their_own_context() -> None:
    """The latents are copied over tp and divided over dp."""
    tp, dp = (
        decode(replace(ONE, plan=plan), 64, 50_000).cache_s
        for plan in (ParallelPlan(tp=2), ParallelPlan(dp=2))
    )
    assert dp == pytest.approx(tp / 2)


def test_other_nodes_are_slower() -> None:
    """The same ranks over two nodes pay for the network."""
    near, far = (decode(replace(ONE, plan=ParallelPlan(tp=4, nodes=n)), 64, 700) for n in (1, 2))
    assert far.links_s > near.links_s
    assert far.experts_s == near.experts_s


@pytest.mark.parametrize("gpu", [A100_80, H100, H200])
def test_weight_only_formats_save_bytes_and_no_operations(gpu: object) -> None:
    """NVFP4 before Blackwell decodes faster than BF16, and prefills no faster."""
    assert isinstance(gpu, type(H200))
    narrow, wide = (replace(ONE, gpu=gpu, weight_format=f) for f in (WeightFormat.NVFP4, WeightFormat.BF16))
    assert decode(narrow, 32, 700).total_s < decode(wide, 32, 700).total_s
    assert prefill_s(narrow, 4096, 16, 16_384) == pytest.approx(prefill_s(wide, 4096, 16, 16_384), rel=0.02)


@pytest.mark.parametrize("requests", [4, 8, 32, 128])
def test_experts_that_are_unpacked(requests: int) -> None:
    """NVFP4 on an H200: as long as Marlin's kernels took, within 10 %."""
    profile = json.loads((RESULTS / "kernels-nvfp4-2026-11-29.json").read_text())
    (row,) = (row for row in profile["rows"] if row["requests"] == requests)
    took_us = sum(one["us"] for one in row["kernels"] if "marlin_moe_wna16" in one["kernel"])
    engine = replace(ONE, shape=replace(MISTRAL_SMALL_4, layers=6), weight_format=WeightFormat.NVFP4)
    assert 1e6 * decode(engine, requests, 512).experts_s == pytest.approx(took_us, rel=0.1)


def test_blackwell_multiplies_fp4() -> None:
    """There it prefills faster, too."""
    narrow, wide = (replace(ONE, gpu=B200, weight_format=f) for f in (WeightFormat.NVFP4, WeightFormat.FP8))
    assert prefill_s(narrow, 4096, 16, 16_384) < prefill_s(wide, 4096, 16, 16_384)


def test_drafting_is_a_pass_a_token() -> None:
    """Each draft token waits for the one before it."""
    head = replace(MISTRAL_SMALL_4, layers=1, dense_layers=1, draft=True)
    one, three = (draft_s(ONE, head, 8, 700, k) for k in (1, 3))
    assert three == pytest.approx(3 * one)
    assert one < 0.2 * decode(ONE, 8, 700).total_s


@pytest.mark.parametrize("requests", [1, 4])
def test_a_part_of_a_context_takes_as_long_as_its_kernel(requests: int) -> None:
    """65,536 tokens in 8 parts, of one request or four: by the profiler's times of a target's layer."""
    found = json.loads((RESULTS / "kernels-long-8-parts-2026-11-29.json").read_text())
    (row,) = (row for row in found["rows"] if row["requests"] == requests)
    of_verifying = max(
        (one for one in row["kernels"] if "flash::enable_sm90" in one["kernel"]),
        key=lambda one: float(one["us"]),
    )
    layer_us = of_verifying["us"] / of_verifying["calls"]
    said_us = (
        1e6 * verify(replace(ONE, context_splits=8), requests, 65_536, 3).cache_s / MISTRAL_SMALL_4.layers
    )
    assert said_us == pytest.approx(layer_us, rel=0.02)


def test_more_parts_are_read_faster_until_the_memory_is_busy() -> None:
    """One sequence alone; of many the memory is what takes time, in however many parts."""
    few, more = (replace(ONE, context_splits=splits) for splits in (8, 32))
    assert decode(few, 1, 131_072).cache_s == pytest.approx(4 * decode(more, 1, 131_072).cache_s)
    assert decode(few, 64, 131_072).cache_s == decode(more, 64, 131_072).cache_s
