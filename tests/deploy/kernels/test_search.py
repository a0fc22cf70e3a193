"""The search finds the fastest configuration of a made-up GPU, and survives what fails on the way."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy.kernels import search, timing
from deploy.kernels.ahead import Compiler
from deploy.kernels.results import Timings, read_configs
from deploy.kernels.shapes import SHAPES
from deploy.kernels.space import VALUES, Config

SHAPE = SHAPES["tp1"]
BATCHES = (8, 64, 1024)
DEFAULT = Config(16, 64, 128, 1, 4, 4)
BEST = {
    8: Config(16, 128, 512, 1, 8, 2),
    64: Config(16, 32, 256, 1, 4, 5),
    1024: Config(64, 128, 128, 4, 8, 5),
}


def cost_us(batch: int, config: Config) -> float:
    """Microseconds: a bowl around this batch's best configuration."""
    steps = (
        abs(values.index(mine) - values.index(best))
        for values, mine, best in zip(VALUES.values(), config, BEST[batch], strict=True)
    )
    return 100 * math.prod(1 + 0.1 * step for step in steps)


@dataclass
class FakeGraph:
    """Replays in no time, and says how long it would have taken."""

    us: float

    def replay_us(self) -> float:
        """Exactly what the cost says."""
        return self.us


class FakeLayer:
    """A layer whose inputs are nothing but their batch."""

    def __init__(self, broken: Config | None = None) -> None:
        self.broken = broken


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> search.Job:
    """A job on the made-up GPU."""

    def record(layer: Any, inputs: list[Any], config: Config) -> FakeGraph:
        if config == layer.broken:
            raise RuntimeError("out of resource")
        return FakeGraph(cost_us(inputs[0], config))

    monkeypatch.setattr(timing, "record", record)
    monkeypatch.setattr(timing, "error", lambda *_: 0.0)
    monkeypatch.setattr(search, "default_config", lambda *_: DEFAULT)
    monkeypatch.setattr(search, "shipped_configs", lambda *_: {})
    monkeypatch.setattr(search, "file_name", lambda shape: f"{shape.name}.json")
    monkeypatch.setattr(search.Job, "bytes_a_call", lambda *_: 1e6)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    inputs: Any = {batch: [batch, batch] for batch in BATCHES}
    layer: Any = FakeLayer()
    return search.Job(SHAPE, BATCHES, layer, inputs, dict(inputs))


def run(job: search.Job, out: Path, seconds: float = 60) -> list[search.Row]:
    """Tune, with so many seconds for the search."""
    timings = Timings(out / "timings.jsonl", "made up")
    deadline = time.monotonic() + search.VERIFY_S + seconds
    return search.tune(job, Compiler(0), timings, out, deadline)


def test_tune(job: search.Job, tmp_path: Path) -> None:
    """The best of every batch is found, compared and written, in a fraction of all timings."""
    rows = run(job, tmp_path)
    assert read_configs(tmp_path / "tp1.json") == BEST
    assert [row["tuned us"] for row in rows] == [100.0] * 3
    for row in rows:
        assert row["speed-up"] == round(cost_us(row["batch"], DEFAULT) / 100, 3)
    assert len((tmp_path / "timings.jsonl").read_text().splitlines()) < 500


def test_failing_configuration(job: search.Job, tmp_path: Path) -> None:
    """A configuration that fails is written down and passed over."""
    vars(job.layer)["broken"] = BEST[64]
    run(job, tmp_path)
    assert read_configs(tmp_path / "tp1.json")[64] != BEST[64]
    entries = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    failed = [entry for entry in entries if entry["us"] is None]
    assert {tuple(entry["config"]) for entry in failed} == {BEST[64]}
    assert "out of resource" in failed[0]["note"]


def test_resume(job: search.Job, tmp_path: Path) -> None:
    """A second run in the folder times nothing again, after a line that was cut short too."""
    run(job, tmp_path)
    kept = tmp_path / "timings.jsonl"
    before = kept.read_text() + '{"cut sho'
    kept.write_text(before)
    run(job, tmp_path)
    assert kept.read_text() == before


def test_other_gpu(job: search.Job, tmp_path: Path) -> None:
    """Another GPU's timings are not taken for this one's."""
    run(job, tmp_path)
    assert Timings(tmp_path / "timings.jsonl", "another").best(SHAPE, 64, 1) == []


def test_no_time(job: search.Job, tmp_path: Path) -> None:
    """Without time there is still a file, of defaults, and the rows say why."""
    rows = run(job, tmp_path, seconds=-search.VERIFY_S - 1)
    assert [row["error"] for row in rows] == ["no time left"] * 3
    assert read_configs(tmp_path / "tp1.json") == dict.fromkeys(BATCHES, DEFAULT)


def test_wrong_result(job: search.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration with another result is never chosen."""

    def error(layer: Any, inputs: Any, config: Config, default: Config) -> float:
        return 1.0 if config == BEST[8] else 0.0

    monkeypatch.setattr(timing, "error", error)
    rows = run(job, tmp_path)
    assert rows[0]["largest difference"] == 1.0
    assert read_configs(tmp_path / "tp1.json")[8] != BEST[8]


def test_slower_under_skew(job: search.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A winner that loses where some experts are popular is not kept."""
    uniform = timing.record

    def record(layer: Any, inputs: list[Any], config: Config) -> Any:
        skewed = inputs is job.skewed[64]
        return FakeGraph(1.0 if config == DEFAULT else 2.0) if skewed else uniform(layer, inputs, config)

    monkeypatch.setattr(timing, "record", record)
    job.skewed[64] = list(job.skewed[64])
    rows = run(job, tmp_path)
    assert [row["skewed"] < 1 for row in rows] == [False, True, False]
    assert read_configs(tmp_path / "tp1.json") == BEST | {64: DEFAULT}
    assert rows[1]["tuned us"] == rows[1]["default us"]


def test_check(job: search.Job, tmp_path: Path) -> None:
    """A check reports what the file says, even if it is slower."""
    run(job, tmp_path)
    slow = Config(32, 64, 64, 1, 4, 2)
    values = json.loads((tmp_path / "tp1.json").read_text())
    values["64"] = slow.to_vllm()
    (tmp_path / "tp1.json").write_text(json.dumps(values))
    rows = search.check(job, tmp_path, time.monotonic() + 60)
    assert rows[1]["tuned"] == str(slow)
    assert rows[1]["speed-up"] < 1


def test_failing_batch(job: search.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose comparison fails keeps the default, and the others go on."""

    def error(layer: Any, inputs: Any, config: Config, default: Config) -> float:
        if inputs[0] == 64:
            raise RuntimeError("lost")
        return 0.0

    monkeypatch.setattr(timing, "error", error)
    rows = run(job, tmp_path)
    assert "lost" in rows[1]["error"]
    assert read_configs(tmp_path / "tp1.json") == BEST | {64: DEFAULT}
