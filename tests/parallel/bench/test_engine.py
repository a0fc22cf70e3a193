"""The benchmark against the real engine, without a GPU."""

import json
from pathlib import Path

import pytest

from parallel.__main__ import main

KEY = "tp1, k=3, real acceptance, target, enforce_eager=true, 32 in, 24 out"


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_pocket_model(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a draft head: all figures are there, and they agree with each other."""
    out = tmp_path / "bench.json"
    given = ["bench", "--model", str(checkpoint / "target"), "--layout", "tp1", "--draft-tokens", "3"]
    given += ["--concurrency", "1", "3", "--prompt", "32", "--answer", "24", "--repeats", "1"]
    given += ["--engine", "enforce_eager=true", "--env", "VLLM_MLA_DISABLE=1", "VLLM_CPU_KVCACHE_SPACE=1"]
    given += ["VLLM_ENABLE_V1_MULTIPROCESSING=0"]  # one process less to start
    assert main([*given, "--budget-s", "600", "--out", str(out)]) == 0
    found = json.loads(out.read_text())["cases"][KEY]
    assert found["errors"] == []
    assert found["kv_blocks"][0] > 0
    assert [row["requests"] for row in found["rows"]] == [1, 3]
    for row in found["rows"]:
        (repeat,) = row["repeats"]
        assert repeat["num_tokens"] == 24 * row["requests"]
        assert 1 <= row["tokens_a_step"] <= 4
        per_step = 1000 / row["user_tokens_per_s"] * row["tokens_a_step"]
        assert row["step_ms"] == pytest.approx(per_step, rel=0.5)
        assert row["total_tokens_per_s"] < row["user_tokens_per_s"] * row["requests"]
    assert f"| {KEY} | 3 |" in capsys.readouterr().out
