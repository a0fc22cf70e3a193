"""Kernels side by side, on a GPU that is made up: whose times stand in which column."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deploy.kernels import compare, cutlass, layer, timing
from deploy.kernels.results import write_configs
from deploy.kernels.shapes import SHAPES
from deploy.kernels.space import Config

DEFAULT, TUNED = Config(64, 128, 128, 1, 8, 3), Config(16, 64, 256, 1, 4, 3)
US = {DEFAULT: 100.0, TUNED: 80.0}


class FakeLayer:
    """Of the kernel that it is, it gives a number."""

    def __init__(self, *_: Any) -> None:
        pass

    def inputs(self, batch: int) -> int:
        """Nothing but the batch."""
        return batch

    def run(self, inputs: int, config: Config | None = None) -> Any:
        """Ones; CUTLASS's are a hundredth off."""
        return torch.ones(4) if config else torch.full((4,), 1.01)

    def poison(self) -> None:
        """There are no buffers."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton takes 100 us as it comes and 80 tuned; CUTLASS 50."""

    def replays(us: float) -> Any:
        return SimpleNamespace(replay_us=lambda: us)

    def calls(run: Callable[[int], Any], inputs: list[int]) -> Any:
        return replays(50.0)

    monkeypatch.setattr(layer, "Layer", FakeLayer)
    monkeypatch.setattr(cutlass, "CutlassLayer", FakeLayer)
    monkeypatch.setattr(layer, "default_config", lambda *_: DEFAULT)
    monkeypatch.setattr(layer, "file_name", lambda shape: f"{shape.name}.json")
    monkeypatch.setattr(timing, "record", lambda _layer, _inputs, config: replays(US[config]))
    monkeypatch.setattr(timing, "record_calls", calls)


def test_a_row_has_every_kernel(gpu: None, tmp_path: Path) -> None:
    """Tuned files count where there are some; speed-ups are over vLLM's own choice."""
    write_configs(tmp_path / "tp1.json", {8: TUNED}, "3.6.0")
    found = compare.compared(SHAPES["tp1"], [8], tmp_path, seed=0)
    assert found[0]["triton us"] == 100
    assert (found[0]["tuned us"], found[0]["tuned"]) == (80, str(TUNED))
    assert (found[0]["cutlass us"], found[0]["cutlass speed-up"]) == (50, 2)
    assert found[0]["difference"] == pytest.approx(0.01)
    # 8 tokens by 4 experts of 3 matrices of 4096 x 2048, two operations each, in 50 us
    assert found[0]["TFLOP/s"] == round(2 * 8 * 4 * 3 * 4096 * 2048 / 50e-6 / 1e12)


def test_the_command(gpu: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table a shape, and the file; without tuned files there is no such column."""
    assert compare.main(["--shape", "tp1", "ep2", "--batches", "8", "64", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in SHAPES] == ["tp1", "ep2"]
    assert "tuned" not in printed
    rows = json.loads((tmp_path / "compare.json").read_text())["shapes"]["ep2"]
    assert [row["batch"] for row in rows] == [8, 64]
