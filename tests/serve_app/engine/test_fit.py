"""Whether a pool's plan suits the model, and how much memory it takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from parallel.memory import WeightFormat, kv_bytes_per_token, rank_weight_bytes
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape
from parallel.plan import ParallelPlan
from parallel.speed import usual_head
from serve_app.config import parse
from serve_app.engine.fit import Fit, fit
from serve_app.errors import ConfigError
from tests.serve_app.samples import args

T = "pools.throughput"
FP8 = {"model.path": "/models/not-here", "model.weight_format": "fp8"}
"""The published model, whose checkpoint is not on this machine."""


def fitted(changes: dict[str, Any]) -> Fit:
    """Return the fit of the throughput pool."""
    return fit(parse(args(changes)), "throughput")


def refused(changes: dict[str, Any]) -> str:
    """Return the one line with which a pool is refused."""
    with pytest.raises(ConfigError) as error:
        fitted(changes)
    (line,) = error.value.problems
    return line


def test_the_shape_is_the_checkpoints(checkpoint: Path) -> None:
    """With the checkpoint at hand, its params.json says how large the model is."""
    path = str(checkpoint / "target")
    found = fitted({"model.path": path})
    shape = ModelShape.read(checkpoint / "target")
    assert found.shape_source == f"{path}/params.json"
    assert found.weights == rank_weight_bytes(shape, WeightFormat.BF16, ParallelPlan())
    assert found.kv_bytes_per_token == kv_bytes_per_token(shape, ParallelPlan())
    assert (found.draft, found.num_kv_tokens) == (None, None)


def test_the_draft_is_counted_apart(checkpoint: Path) -> None:
    """An EAGLE head at hand is counted; for one that is not, the usual one of such a model."""
    path = str(checkpoint / "target")
    without = fitted({"model.path": path})
    here = fitted({"model.path": path, f"{T}.speculation": {"draft": str(checkpoint / "eagle")}})
    away = fitted({"model.path": path, f"{T}.speculation": {"draft": "/models/not-here"}})
    head = ModelShape.read(checkpoint / "eagle", draft=True)
    usual = usual_head(ModelShape.read(checkpoint / "target"))
    for found, shape in ((here, head), (away, usual)):
        assert found.draft == rank_weight_bytes(shape, WeightFormat.BF16, ParallelPlan())
        of_head = kv_bytes_per_token(shape, ParallelPlan())
        assert found.kv_bytes_per_token == without.kv_bytes_per_token + of_head > without.kv_bytes_per_token


def test_the_published_shape() -> None:
    """Without the checkpoint, the published sizes stand in, and the fit says so."""
    found = fitted(FP8 | {f"{T}.gpu": "H200", f"{T}.engine": {"max_model_len": 262_144}})
    assert found.shape_source == "the published Mistral Small 4"
    assert found.weights == rank_weight_bytes(MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
    assert found.num_kv_tokens is not None
    assert found.num_kv_tokens > 262_144


@pytest.mark.parametrize(
    ("changes", "weight_format"),
    [
        ({}, WeightFormat.BF16),
        ({f"{T}.engine": {"dtype": "float32"}}, WeightFormat.FLOAT32),
        ({"model.weight_format": "fp8"}, WeightFormat.FP8),
        ({"model.weight_format": "nvfp4", f"{T}.engine": {"dtype": "float32"}}, WeightFormat.NVFP4),
    ],
)
def test_weight_format(changes: dict[str, Any], weight_format: WeightFormat) -> None:
    """What the operator says counts, else what the engine computes in."""
    found = fitted({"model.path": "/models/not-here"} | changes)
    assert found.weights == rank_weight_bytes(MISTRAL_SMALL_4, weight_format, ParallelPlan())


def test_a_checkpoint_says_its_format(checkpoint: Path, tmp_path: Path) -> None:
    """A checkpoint that says fp8 is counted in fp8, unless the operator says otherwise."""
    params = json.loads((checkpoint / "target" / "params.json").read_text())
    params["quantization"] = {"qformat_weight": "fp8_e4m3"}
    (tmp_path / "params.json").write_text(json.dumps(params))
    fp8 = fitted({"model.path": str(tmp_path)})
    bf16 = fitted({"model.path": str(tmp_path), "model.weight_format": "bf16"})
    assert fp8.weights.total_bytes < bf16.weights.total_bytes


@pytest.mark.parametrize(
    ("changes", "halves"),
    [
        ({}, 1.0),
        ({f"{T}.engine": {"kv_cache_dtype": "fp8"}}, 0.5),
        ({f"{T}.engine": {"kv_cache_dtype": "fp8_e4m3"}}, 0.5),
        ({f"{T}.engine": {"kv_cache_dtype": "auto", "dtype": "float32"}}, 2.0),
    ],
)
def test_cache_format(changes: dict[str, Any], halves: float) -> None:
    """The cache is in the engine's number format, or in fp8 where the operator asks for it."""
    found = fitted({"model.path": "/models/not-here"} | changes)
    assert found.kv_bytes_per_token == halves * kv_bytes_per_token(MISTRAL_SMALL_4, ParallelPlan())


@pytest.mark.parametrize("where", ["env", f"{T}.env"])
def test_cache_without_latents(where: str) -> None:
    """An environment that turns MLA off makes the cache as large as plain attention's."""
    found = fitted({"model.path": "/models/not-here", where: {"VLLM_MLA_DISABLE": "1"}})
    assert found.kv_bytes_per_token == kv_bytes_per_token(MISTRAL_SMALL_4, ParallelPlan(), mla=False)


def test_one_h100_is_too_small() -> None:
    """The FP8 model on one H100 is refused, with the weights' size and the device's."""
    line = refused(FP8 | {f"{T}.gpu": "H100"})
    assert line.startswith(f"{T}: a GPU needs 115.6 GiB before any context (112.1 GiB of weights)")
    assert line.endswith("(0.92 of H100's 79.2 GiB)")


def test_an_fp8_output_layer_needs_a_gpu_for_it() -> None:
    """A100 keeps FP8 weights and multiplies in BF16: drafts could not be chosen there."""
    drafting = {"draft": "/models/not-here-either", "fp8_output": True}
    pool = FP8 | {
        f"{T}.plan": {"tp": 4},
        f"{T}.engine": {"max_model_len": 8192},
        f"{T}.speculation": drafting,
    }
    fitted(pool | {f"{T}.gpu": "H100"})
    line = refused(pool | {f"{T}.gpu": "A100-80"})
    assert line == f"{T}: speculation.fp8_output=true needs a GPU that multiplies in FP8, not gpu=A100-80"
    fitted(pool | {f"{T}.gpu": "A100-80", f"{T}.speculation": drafting | {"fp8_output": False}})


def test_context_that_the_device_has_no_room_for() -> None:
    """A context longer than the cache is refused with both lengths."""
    line = refused(
        FP8 | {f"{T}.gpu": "H100", f"{T}.plan": {"tp": 2}, f"{T}.engine": {"max_model_len": 1_000_000}}
    )
    assert line.startswith(f"{T}: engine.max_model_len=1000000 is more than the ")
    assert "tokens of context that gpu=H100 has room for with ParallelPlan(tp=2" in line


def test_every_dp_group_must_hold_the_context() -> None:
    """Ranks of different groups do not share one request's context."""
    h100x4 = FP8 | {f"{T}.gpu": "H100", f"{T}.plan": {"tp": 2, "dp": 2, "ep": True}}
    half = {"gpu_memory_utilization": 0.5}
    num_tokens = fitted(h100x4 | {f"{T}.engine": half | {"max_model_len": 8192}}).num_kv_tokens
    assert num_tokens is not None
    line = refused(h100x4 | {f"{T}.engine": half | {"max_model_len": num_tokens // 2 + 1}})
    assert f"is more than the {num_tokens // 2} tokens of context" in line


def test_context_beyond_the_positions(checkpoint: Path) -> None:
    """A context longer than the model's positions is refused on any device."""
    line = refused({"model.path": str(checkpoint / "target"), f"{T}.engine": {"max_model_len": 16_385}})
    assert line == f"{T}: engine.max_model_len=16385 is more than the model's 16384 positions"
    fitted({"model.path": str(checkpoint / "target"), f"{T}.engine": {"max_model_len": 16_384}})


def test_a_plan_that_does_not_divide_the_model() -> None:
    """A plan that cannot divide heads or experts is refused with both numbers."""
    assert refused(FP8 | {f"{T}.plan": {"tp": 3}}) == f"{T}: tp=3 does not divide num_attention_heads=32"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "params.json is not JSON: Expecting property name"),
        ("[36]", "params.json must be an object, not [36]"),
        ("{}", "params.json lacks the key 'moe'"),
        ('{"moe": 128}', "params.json: moe must be an object, not 128"),
        ('{"quantization": "fp8"}', "params.json: quantization must be an object, not 'fp8'"),
    ],
)
def test_a_broken_checkpoint(checkpoint: Path, tmp_path: Path, text: str, reason: str) -> None:
    """What is wrong in a params.json, target's or head's, is one line with setting, file and field."""
    (tmp_path / "params.json").write_text(text)
    assert refused({"model.path": str(tmp_path)}).startswith(f"model.path={tmp_path}: {reason}")
    target = {"model.path": str(checkpoint / "target")}
    line = refused(target | {f"{T}.speculation": {"draft": str(tmp_path)}})
    assert line.startswith(f"{T}.speculation.draft={tmp_path}: {reason}")


@pytest.mark.parametrize(("engine", "length"), [({"max_model_len": 4096}, 4096), ({}, 16_384)])
def test_a_head_drafts_for_no_more_than_the_context(
    checkpoint: Path, engine: dict[str, Any], length: int
) -> None:
    """A head whose limit is beyond the target's, which vLLM would refuse when it starts."""
    head = {"draft": str(checkpoint / "eagle"), "max_model_len": length + 1}
    changes = {"model.path": str(checkpoint / "target"), f"{T}.engine": engine}
    line = refused(changes | {f"{T}.speculation": head})
    assert line == f"{T}: speculation.max_model_len={length + 1} is more than engine.max_model_len={length}"
    fitted(changes | {f"{T}.speculation": head | {"max_model_len": length}})
