"""Engines that answer, fail, hang or are missing: what the results say of each."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from parallel.bench import driver
from parallel.bench.case import Case
from parallel.bench.driver import Target, Workload, run, table
from parallel.bench.engine import Spec
from parallel.bench.streams import Stream, figures

WORK = Workload(levels=(1, 3), prompt_tokens=4, answer_tokens=3, repeats=2)
PARAMS = {"vocab_size": 100}
TARGET = Target("target", None, False, PARAMS, {}, {})
Started = list[Spec]
Engines = Callable[[Callable[[Spec], str]], Started]


def measured(spec: Spec) -> str:
    """A script that writes what an engine with a token a second would."""
    lines: list[dict[str, Any]] = [{"event": "started", "seconds": 1.0, "kv_blocks": 7}]
    for level, requests in enumerate(spec.levels):
        found = figures([Stream(0.0, [(1.0, 1), (2.0, 1), (3.0, 1)])] * requests) if requests else None
        for repeat in range(spec.repeats if found else 0):
            assert found is not None
            lines.append({"event": "measured", "level": level, "repeat": repeat, "figures": asdict(found)})
    return "".join(f"print({json.dumps(json.dumps(line))})\n" for line in lines)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    """Replace engines by scripts, whose output becomes their rows; returns what they were asked."""

    def replace(script: Callable[[Spec], str]) -> Started:
        asked: Started = []

        def start(spec: Spec, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
            asked.append(spec)
            (folder / f"{spec.part}.log").write_text("Using the MoE backend\nchatter\nthe end")
            with (folder / f"{spec.part}.jsonl").open("wb") as rows:
                command = [sys.executable, "-c", script(spec)]
                return subprocess.Popen(command, stdout=rows, start_new_session=True)

        monkeypatch.setattr(driver, "_start", start)
        monkeypatch.setattr(driver, "machine", lambda: {"gpus": []})
        monkeypatch.setattr(driver, "POLL_S", 0.02)
        return asked

    return replace


def test_rows(engines: Engines, tmp_path: Path) -> None:
    """A row for each number of requests; the file says how it came about."""
    engines(measured)
    out = tmp_path / "bench.json"
    found = run([Case("tp1")], TARGET, WORK, out, 60)
    assert found == json.loads(out.read_text()) | {"workload": asdict(WORK)}
    case = found["cases"]["tp1"]
    assert [row["requests"] for row in case["rows"]] == [1, 3]
    assert [row["user_tokens_per_s"] for row in case["rows"]] == [1.0, 1.0]
    assert [row["total_tokens_per_s"] for row in case["rows"]] == [1.0, 3.0]
    assert len(case["rows"][0]["repeats"]) == 2
    assert case["errors"] == []
    assert case["log"] == ["Using the MoE backend"]
    assert case["arguments"]["max_num_seqs"] == 3
    assert "| tp1 | 3 | 1.0 | 1000.00 | 1.00 | 3 | 1.00 |" in table(found["cases"])


def test_replicas(engines: Engines, tmp_path: Path) -> None:
    """Two engines share the requests, and meet in one folder."""
    asked = engines(measured)
    found = run([Case("2xtp1")], TARGET, WORK, tmp_path / "bench.json", 60)
    assert [spec.levels for spec in asked] == [[1, 2], [0, 1]]
    assert asked[0].gate == asked[1].gate
    assert [row["total_tokens_per_s"] for row in found["cases"]["2xtp1"]["rows"]] == [1.0, 3.0]


def test_resume(engines: Engines, tmp_path: Path) -> None:
    """What is there is not run again; another target is another case."""
    asked = engines(measured)
    out = tmp_path / "bench.json"
    run([Case("tp1")], TARGET, WORK, out, 60)
    run([Case("tp1"), Case("tp2")], TARGET, WORK, out, 60)
    assert len(asked) == 2
    smaller = Target("target", None, False, PARAMS, {}, {}, ("18 layers",))
    assert set(run([Case("tp1")], smaller, WORK, out, 60)["cases"]) == {"tp1", "tp2", "tp1, 18 layers"}


def test_other_numbers_of_requests(engines: Engines, tmp_path: Path) -> None:
    """A case that is there for some of them is run for the others."""
    asked = engines(measured)
    out = tmp_path / "bench.json"
    run([Case("tp1")], TARGET, replace(WORK, levels=(1,)), out, 60)
    found = run([Case("tp1")], TARGET, WORK, out, 60)
    assert [row["requests"] for row in found["cases"]["tp1"]["rows"]] == [1, 3]
    assert len(asked) == 2


def test_failure(engines: Engines, tmp_path: Path) -> None:
    """An engine that fails says why, and the next case runs."""

    def script(spec: Spec) -> str:
        if "tensor_parallel_size" in spec.arguments:
            line = json.dumps({"event": "failed", "error": "no memory"})
            return f"print({json.dumps(line)}, flush=True)\nraise SystemExit(1)"
        return measured(spec)

    engines(script)
    found = run([Case("tp2"), Case("tp1")], TARGET, WORK, tmp_path / "bench.json", 60)
    assert found["cases"]["tp2"]["errors"] == ["no memory"]
    assert found["cases"]["tp2"]["log"] == ["Using the MoE backend\nchatter\nthe end"]
    assert len(found["cases"]["tp1"]["rows"]) == 2
    assert "tp2: no memory" in table(found["cases"])


def test_hang(engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that hangs is ended with its children, and keeps the rows that it had."""
    monkeypatch.setattr(driver, "MARGIN_S", 0.0)
    child = "import subprocess, sys, time\nsubprocess.Popen(['sleep', '600'])\n"

    def script(spec: Spec) -> str:
        spec.levels[1:] = []
        return f"{child}{measured(spec)}sys.stdout.flush()\ntime.sleep(600)"

    engines(script)
    found = run([Case("tp1")], TARGET, WORK, tmp_path / "bench.json", 2)
    case = found["cases"]["tp1"]
    assert [row["requests"] for row in case["rows"]] == [1]
    assert case["errors"] == ["out of time, or ended without a word"]
    assert case["seconds"] < 20


def test_plugin_is_found_where_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout on a path is enough: its entry points are written next to the specification."""
    monkeypatch.setattr(driver, "entry_points", lambda **_: ())
    with driver._plugin_on_path(tmp_path) as environment:
        looked_up = subprocess.run(
            [
                sys.executable,
                "-S",
                "-c",
                "from importlib.metadata import entry_points as e\n"
                "print(*(p.value for g in ('general', 'platform') for p in e(group=f'vllm.{g}_plugins')))",
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert looked_up.stdout.split() == ["parallel.vllm_plugin:register", "parallel.vllm_plugin:platform"]


@pytest.mark.parametrize(
    ("visible", "layout", "expected"),
    [
        (None, "2xtp1", ["0", "1"]),
        ("2,3", "2xtp1", ["2", "3"]),
        ("GPU-b,GPU-a,5,7", "2xtp2", ["GPU-b,GPU-a", "5,7"]),
    ],
)
def test_replicas_share_the_gpus_that_may_be_seen(
    visible: str | None, layout: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several benchmarks can run beside each other, each on GPUs of its own."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [driver.devices(Case(layout), part) for part in range(2)] == expected


@pytest.mark.parametrize("part", [0, 1])
def test_replicas_need_gpus(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More replicas than GPUs are refused, with both numbers, before the first of them starts."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(ValueError, match="2xtp1 needs 2 GPUs, but CUDA_VISIBLE_DEVICES=3"):
        driver.devices(Case("2xtp1"), part)
