"""What a plan leaves for context, against the memory estimate and vLLM's own figures."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.fit import DoesNotFitError, fit, needs
from parallel.hardware import GPUS, H100, H200, L40S, Gpu
from parallel.memory import (
    ENGINE_OVERHEAD_BYTES,
    CacheFormat,
    WeightFormat,
    kv_bytes_per_token,
    rank_weight_bytes,
)
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.question import Cluster, Question
from parallel.speed import Load, Speculation, usual_head

QUESTION = Question(Cluster(H200, 2), WeightFormat.FP8, 262_144, "throughput", Load(8))


def on(gpu: Gpu, **changes: Any) -> Question:
    """The question on another device, with other changes."""
    return replace(QUESTION, cluster=Cluster(gpu, 2), **changes)


def tokens(plan: ParallelPlan, **changes: Any) -> int:
    """Tokens of context that a replica of a plan has room for."""
    return fit(replace(QUESTION, **changes), plan)[1]


@pytest.mark.parametrize("plan", [ParallelPlan(), ParallelPlan(tp=2), ParallelPlan(dp=2, ep=True)])
def test_room_is_what_is_left(plan: ParallelPlan) -> None:
    """The rows fill the share of the GPU, and what weights and overhead leave is cache, group by group."""
    report, num_tokens = fit(QUESTION, plan)
    assert report.total_bytes == int(H200.memory_bytes * 0.92)
    weights = rank_weight_bytes(MISTRAL_SMALL_4, WeightFormat.FP8, plan).total_bytes
    left = report.total_bytes - weights - ENGINE_OVERHEAD_BYTES
    assert num_tokens == plan.dp * (left // kv_bytes_per_token(MISTRAL_SMALL_4, plan))


@pytest.mark.parametrize("reported_tokens", [586_000, 630_000])
def test_cache_on_one_h200(reported_tokens: int) -> None:
    """VLLM 0.29 kept so many tokens on one H200, by the run's settings; the estimate is within 4 %."""
    assert tokens(ParallelPlan()) == pytest.approx(reported_tokens, rel=0.04)


def test_data_parallel_groups_keep_different_tokens() -> None:
    """Two groups hold more than twice one group's tokens, since each also holds half of the experts."""
    assert tokens(ParallelPlan(dp=2, ep=True)) > 2 * tokens(ParallelPlan())


def test_a_draft_head_at_hand_has_its_own_cache() -> None:
    """Every layer of it keeps what a layer of the target keeps, with latents and without."""
    head = usual_head(MISTRAL_SMALL_4)
    for mla in (True, False):
        plain, drafting = (
            needs(MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan(), CacheFormat.BF16, head=one, mla=mla)
            for one in (None, head)
        )
        assert drafting.kv_bytes_per_token * 36 == plain.kv_bytes_per_token * 37
        assert drafting.draft is not None


def test_a_draft_head_takes_weights_and_cache() -> None:
    """It has weights of its own, and a latent a layer for each token."""
    plain, drafting = (
        fit(replace(QUESTION, speculation=one), ParallelPlan()) for one in (None, Speculation())
    )
    assert "draft head" in {row.name for row in drafting[0].rows}
    assert drafting[1] < plain[1]


@pytest.mark.parametrize("tp", [1, 2])
def test_an_output_layer_in_fp8_takes_a_byte_an_element(tp: int) -> None:
    """Of each rank's part of the vocabulary."""
    plan, shape = ParallelPlan(tp=tp), MISTRAL_SMALL_4
    without, copied = (
        needs(shape, WeightFormat.FP8, plan, CacheFormat.BF16, fp8_output=copy) for copy in (False, True)
    )
    more = sum(row.num_bytes for row in copied.rows) - sum(row.num_bytes for row in without.rows)
    assert more == 131_072 * 4096 // tp


def test_weights_that_do_not_fit() -> None:
    """Needed and there, in one line, and how much is missing."""
    with pytest.raises(DoesNotFitError, match=r"needs 115.6 GiB .*, 72.9 GiB are there") as caught:
        fit(on(H100), ParallelPlan())
    assert caught.value.missing_bytes > 40 * 2**30


def test_context_that_does_not_fit() -> None:
    """The weights fit, the longest request does not."""
    with pytest.raises(
        DoesNotFitError, match=r"context=1000000 needs 21.5 GiB of cache, 13.1 GiB are left, for 608898"
    ):
        fit(on(H200, context_tokens=1_000_000), ParallelPlan())


@given(
    gpu=st.sampled_from(list(GPUS.values())),
    more_bytes=st.integers(0, 2**38),
    weight_format=st.sampled_from([WeightFormat.BF16, WeightFormat.FP8, WeightFormat.NVFP4]),
    tp=st.sampled_from([1, 2, 4, 8]),
    context=st.integers(2000, 1_000_000),
)
def test_more_memory_never_makes_a_layout_infeasible(
    gpu: Gpu, more_bytes: int, weight_format: WeightFormat, tp: int, context: int
) -> None:
    """What fits on a device fits on a larger one, with no less room."""
    small = on(gpu, weight_format=weight_format, context_tokens=context)
    large = replace(small, cluster=Cluster(replace(gpu, memory_bytes=gpu.memory_bytes + more_bytes), 2))
    try:
        _, tokens = fit(small, ParallelPlan(tp=tp))
    except DoesNotFitError:
        return
    assert fit(large, ParallelPlan(tp=tp))[1] >= tokens


def test_less_is_missing_from_a_larger_device() -> None:
    """So that the closest layout can be named."""
    missing = []
    for gpu in (L40S, H100):
        with pytest.raises(DoesNotFitError) as caught:
            fit(on(gpu), ParallelPlan())
        missing.append(caught.value.missing_bytes)
    assert missing[0] > missing[1]
