"""Predictions beside a results file."""

import json
from pathlib import Path
from typing import Any

import pytest

from parallel.__main__ import main
from parallel.bench import dummy
from parallel.bench.case import Case
from parallel.bench.compare import pairs
from parallel.cost import Engine
from parallel.hardware import A100_40, A100_80, H100, H200, Gpu
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speed import Load, Speculation, speed


def results(case: Case, name: str = "NVIDIA H200", mib: int = 143_771) -> dict[str, Any]:
    """A file with one row, of 128 requests, at 25 tokens a second each."""
    row = {"requests": 128, "user_tokens_per_s": 25.0, "total_tokens_per_s": 3000.0}
    record = {
        "case": case.values(),
        "params": dummy.params(MISTRAL_SMALL_4, WeightFormat.FP8),
        "arguments": {"max_num_batched_tokens": 8192},
        "rows": [row | {"step_ms": 40.0, "tokens_a_step": 2.6}, row | {"user_tokens_per_s": 0.0}],
    }
    return {
        "machine": {"gpus": [{"name": name, "memory.total": f"{mib} MiB"}]},
        "workload": {"prompt_tokens": 512, "answer_tokens": 256},
        "cases": {case.key: record},
    }


def test_plain() -> None:
    """The same prediction as for the setting by hand; a row without a window is left out."""
    (pair,) = pairs(results(Case("tp2+ep")))
    engine = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan(tp=2, ep=True))
    said = speed(engine, Load(128, 512, 256, 8192))
    assert pair.predicted == said
    assert pair.user_error == pytest.approx(said.user_tokens_per_s / 25 - 1)


def test_each_case_has_the_prompts_that_it_was_run_with() -> None:
    """A file that was gone on with has the last ones at its top."""
    found = results(Case("tp1"))
    (usual,) = pairs(found)
    found["cases"]["tp1"]["workload"] = {"prompt_tokens": 32_768, "answer_tokens": 256}
    (longer,) = pairs(found)
    assert longer.predicted.user_tokens_per_s < 0.9 * usual.predicted.user_tokens_per_s


def test_a_client_that_reads_late() -> None:
    """Its events are of several steps, so that steps seem to yield more than they can."""
    found = results(Case("tp1", draft_tokens=3, acceptance=2.5))
    found["cases"][next(iter(found["cases"]))]["rows"][0]["tokens_a_step"] = 4.05
    (pair,) = pairs(found)
    engine = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
    assert pair.predicted == speed(engine, Load(128, 512, 256, 8192), Speculation(3, 4.0))


def test_replicas_with_a_draft_head() -> None:
    """Each has its share of the requests, and the acceptance that was measured."""
    (pair,) = pairs(results(Case("2xtp1", draft_tokens=3, acceptance=2.5)))
    engine = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
    said = speed(engine, Load(64, 512, 256, 8192), Speculation(3, 2.6))
    assert pair.predicted == said
    assert pair.total_error == pytest.approx(2 * said.total_tokens_per_s / 3000 - 1)


@pytest.mark.parametrize(
    ("name", "mib", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3", 81_559, H100),
        ("NVIDIA A100-SXM4-80GB", 81_920, A100_80),
        ("NVIDIA A100-SXM4-40GB", 40_960, A100_40),
    ],
)
def test_gpu(name: str, mib: int, gpu: Gpu) -> None:
    """Known by what nvidia-smi calls it and by its memory."""
    (pair,) = pairs(results(Case("tp1"), name, mib))
    engine = Engine(gpu, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
    assert pair.predicted == speed(engine, Load(128, 512, 256, 8192))


@pytest.mark.parametrize("weights", [WeightFormat.BF16, WeightFormat.FP8, WeightFormat.NVFP4])
@pytest.mark.parametrize("splits", [8, 32])
def test_the_engine_is_the_recorded_one(weights: WeightFormat, splits: int) -> None:
    """Its weights in the format that was written, its contexts read in as many parts."""
    found = results(Case("tp1"))
    (record,) = found["cases"].values()
    record["params"] = dummy.params(MISTRAL_SMALL_4, weights)
    record["arguments"]["attention_config"] = {"flash_attn_max_num_splits_for_cuda_graph": splits}
    (pair,) = pairs(found)
    engine = Engine(H200, MISTRAL_SMALL_4, weights, ParallelPlan(), context_splits=splits)
    assert pair.predicted == speed(engine, Load(128, 512, 256, 8192))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table, or one line that says what is wrong."""
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(results(Case("tp1"))))
    assert main(["compare", str(file)]) == 0
    assert "| tp1 | 128 | 25.0 | " in capsys.readouterr().out
    file.write_text(json.dumps(results(Case("tp1"), "Quadro")))
    assert main(["compare", str(file)]) == 2
    assert capsys.readouterr().err.startswith("compare: machine.gpus='Quadro' is none of A100-40")


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"cases": {"tp1": {}}, "workload": {}}'])
def test_a_file_of_something_else(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is named in one line."""
    file = tmp_path / "other.json"
    file.write_text(text)
    assert main(["compare", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"compare: {file}: not what bench or verify writes (")
