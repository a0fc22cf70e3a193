"""Weights and cache by the byte, against a checkpoint on disk and against what an H200 showed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.hardware import GIB
from parallel.memory import (
    CacheFormat,
    MemoryReport,
    WeightFormat,
    checkpoint_bytes,
    kv_bytes_per_token,
    rank_weight_bytes,
)
from parallel.model_shape import ModelShape
from parallel.plan import ParallelPlan

SHAPE = ModelShape.read(Path(__file__).parent / "small_4")
BLOCK_TOKENS = 128
"""Of vLLM's CPU build."""
ONE = ParallelPlan()


def part(report: MemoryReport, name: str) -> int:
    """Bytes of one row."""
    return next(row.num_bytes for row in report.rows if row.name == name)


@pytest.mark.parametrize(("name", "draft"), [("target", False), ("eagle", True)])
def test_pocket_checkpoint_to_the_byte(checkpoint: Path, name: str, draft: bool) -> None:
    """The counted bytes are those of the tensors in the file, all of them bf16."""
    file = checkpoint / name / "consolidated.safetensors"
    with file.open("rb") as stream:
        header_bytes = 8 + int.from_bytes(stream.read(8), "little")
    counted = checkpoint_bytes(ModelShape.read(checkpoint / name, draft=draft), WeightFormat.BF16)
    assert counted.total_bytes == file.stat().st_size - header_bytes


def test_weights_on_one_h200() -> None:
    """VLLM 0.29 reported 112.05 GiB for the FP8 model on one H200; the count is within 0.01 GiB."""
    assert rank_weight_bytes(SHAPE, WeightFormat.FP8, ONE).total_bytes / GIB == pytest.approx(
        112.05, abs=0.01
    )


@pytest.mark.parametrize(
    ("weight_format", "gigabytes", "tolerance"),
    [
        (WeightFormat.FLOAT32, 476, 1),
        (WeightFormat.BF16, 238, 1),
        (WeightFormat.FP8, 119, 2),
        (WeightFormat.NVFP4, 66, 6),
    ],
)
def test_checkpoint_sizes(weight_format: WeightFormat, gigabytes: float, tolerance: float) -> None:
    """Sizes on disk in GB, by format: 119 for FP8 and 60 to 72 for NVFP4 are the published ones."""
    assert checkpoint_bytes(SHAPE, weight_format).total_bytes / 1e9 == pytest.approx(gigabytes, abs=tolerance)


@pytest.mark.parametrize(
    ("plan", "experts", "shared_experts", "attention"),
    [
        (ONE, 1, 1, 1),
        (ParallelPlan(tp=2), 2, 2, 2),
        (ParallelPlan(tp=2, ep=True), 2, 2, 2),
        (ParallelPlan(dp=2), 2, 1, 1),
        (ParallelPlan(dp=2, ep=True), 2, 1, 1),
        (ParallelPlan(tp=2, dp=2), 4, 2, 2),
        # Here every rank needs the whole shared expert for its share of the tokens.
        (ParallelPlan(tp=2, dp=2, ep=True), 4, 1, 2),
    ],
)
def test_shares_of_a_rank(plan: ParallelPlan, experts: int, shared_experts: int, attention: int) -> None:
    """Experts are divided over all ranks, dense matrices over tp, and the latent projections over none."""
    whole = checkpoint_bytes(SHAPE, WeightFormat.FP8)
    share = rank_weight_bytes(SHAPE, WeightFormat.FP8, plan)
    copied = SHAPE.layers * SHAPE.hidden * (SHAPE.q_lora + SHAPE.kv_lora + SHAPE.rope_dim)

    assert part(share, "routed experts") == part(whole, "routed experts") // experts
    assert part(share, "shared experts") == part(whole, "shared experts") // shared_experts
    assert part(share, "attention") == copied + (part(whole, "attention") - copied) // attention


@pytest.mark.parametrize(
    ("plan", "cache_format", "mla", "num_bytes"),
    [
        (ONE, CacheFormat.BF16, True, 36 * 320 * 2),
        (ONE, CacheFormat.FP8, True, 36 * 320),
        (ParallelPlan(tp=4), CacheFormat.BF16, True, 36 * 320 * 2),
        (ONE, CacheFormat.FLOAT32, False, 36 * 2 * 32 * 128 * 4),
        (ParallelPlan(tp=4), CacheFormat.FLOAT32, False, 36 * 2 * 8 * 128 * 4),
        (ParallelPlan(dp=4), CacheFormat.BF16, False, 36 * 2 * 32 * 128 * 2),
    ],
)
def test_cache_of_a_token(plan: ParallelPlan, cache_format: CacheFormat, mla: bool, num_bytes: int) -> None:
    """The latent is copied over tp, full heads are divided over it, dp never matters."""
    assert kv_bytes_per_token(SHAPE, plan, cache_format, mla=mla) == num_bytes


@pytest.mark.parametrize(
    ("plan", "tokens"), [(ONE, 43_648), (ParallelPlan(dp=2), 43_648), (ParallelPlan(tp=2), 87_296)]
)
def test_cache_of_the_pocket_model_without_latents(checkpoint: Path, plan: ParallelPlan, tokens: int) -> None:
    """VLLM's CPU build reported so many for a GiB of float32 cache without MLA, in whole blocks."""
    shape = ModelShape.read(checkpoint / "target")
    fitting = GIB // kv_bytes_per_token(shape, plan, CacheFormat.FLOAT32, mla=False)
    assert fitting // BLOCK_TOKENS * BLOCK_TOKENS == tokens


def test_report_prints_rows_and_total(checkpoint: Path) -> None:
    """A report reads as a table, in the unit that suits its size."""
    large = str(rank_weight_bytes(SHAPE, WeightFormat.FP8, ONE)).splitlines()
    small = str(
        checkpoint_bytes(ModelShape.read(checkpoint / "eagle", draft=True), WeightFormat.BF16)
    ).splitlines()
    assert large[0] == "routed experts         108.000 GiB"
    assert large[-1] == "total                  112.050 GiB"
    assert small[-1].endswith("MiB")


@given(
    tp=st.sampled_from([1, 2, 4, 8]),
    dp=st.sampled_from([1, 2, 4]),
    ep=st.booleans(),
    weight_format=st.sampled_from(WeightFormat),
)
def test_ranks_together_hold_the_checkpoint(tp: int, dp: int, ep: bool, weight_format: WeightFormat) -> None:
    """No layout loses weights: the ranks hold at least one checkpoint between them."""
    plan = ParallelPlan(tp=tp, dp=dp, ep=ep and tp * dp > 1)
    share = rank_weight_bytes(SHAPE, weight_format, plan).total_bytes
    assert plan.world_size * share >= checkpoint_bytes(SHAPE, weight_format).total_bytes
    assert share <= rank_weight_bytes(SHAPE, weight_format, ONE).total_bytes
