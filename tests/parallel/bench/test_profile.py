"""What a step's kernels go into: every kernel once, and the documents' table is that of the measured file."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest
from vllm import SamplingParams

from parallel.__main__ import main
from parallel.bench.profile import Profiled, parts, parts_table, table
from parallel.bench.stepped import Stepped

ROOT = Path(__file__).parent.parent.parent.parent
RESULTS = ROOT / "tests/bench/results"
MEASURED = json.loads((RESULTS / "kernels-of-a-step-2026-11-28.json").read_text())
NVFP4 = json.loads((RESULTS / "kernels-nvfp4-2026-11-29.json").read_text())
LARGE = json.loads((RESULTS / "kernels-of-a-large-step-2026-11-29.json").read_text())


@pytest.mark.parametrize("row", [*MEASURED["rows"], *LARGE["rows"]], ids=lambda row: str(row["requests"]))
def test_every_kernel_goes_into_one_part(row: dict[str, object]) -> None:
    """The parts add up to the kernels, and none of them is empty."""
    found = parts(row)
    kernels = row["kernels"]
    assert isinstance(kernels, list)
    assert sum(found.values()) == pytest.approx(sum(one["us"] for one in kernels))
    assert min(found.values()) > 0


def test_more_requests_touch_more_experts() -> None:
    """Only the routed experts grow with a small batch: each request brings experts of its own."""
    one, eight = parts(MEASURED["rows"][0]), parts(MEASURED["rows"][-1])
    grown = {name for name in one if eight[name] > 1.5 * one[name]}
    assert grown == {"routed experts"}


def test_the_tables() -> None:
    """The longest kernel of each number of requests leads its table."""
    text = table(MEASURED)
    assert text.startswith("| us a step, requests: | 1 | 4 | 8 |")
    assert text.count("| kernel | calls a step | us a call | us a step |") == 3
    assert text.index("`nvjet_sm90_tst_512x8") < text.index("`fused_moe_kernel`")


def test_the_documented_tables_are_the_measured_ones() -> None:
    """parallel/README.md shows the files' figures; of the second, those of many requests."""
    page = (ROOT / "parallel" / "README.md").read_text()
    assert parts_table(MEASURED) in page
    assert parts_table(LARGE | {"rows": [row for row in LARGE["rows"] if row["requests"] > 8]}) in page


def test_the_page_has_nvfp4_beside_fp8() -> None:
    """The same requests of both formats: routed experts, and all kernels."""
    page = (ROOT / "parallel" / "README.md").read_text()
    requests = (1, 4, 8, 512)
    for label, profiles in (("FP8", (MEASURED, LARGE)), ("NVFP4", (NVFP4,))):
        rows = {row["requests"]: row for found in reversed(profiles) for row in found["rows"]}
        experts = " | ".join(f"{parts(rows[number])['routed experts']:.0f}" for number in requests)
        kernels = " | ".join(f"{sum(parts(rows[number]).values()):.0f}" for number in requests)
        assert f"| {label}: routed experts | {experts} |\n| all kernels | {kernels} |" in page


@pytest.mark.parametrize("options", [["--layout", "tp2"], ["--layout", "tp1", "--draft-tokens", "0", "1"]])
def test_only_one_engine_on_one_gpu(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other layouts, and several cases at once, are refused before anything is written."""
    out = tmp_path / "out.json"
    assert main(["profile", *options, "--out", str(out)]) == 2
    assert "only one engine of one rank is stepped" in capsys.readouterr().err
    assert not out.exists()


class Reader:
    """An engine that reads 4 prompts a step, and is done with them."""

    def __init__(self) -> None:
        self.added: list[tuple[int, int | None]] = []
        self.num_steps = 0
        self._waiting = 0

    def add_request(self, _: str, prompt: Mapping[str, list[int]], sampling: SamplingParams) -> None:
        """Take a prompt."""
        self.added.append((len(prompt["prompt_token_ids"]), sampling.max_tokens))
        self._waiting += 1

    def has_unfinished_requests(self) -> bool:
        """Whether prompts are left."""
        return self._waiting > 0

    def step(self) -> None:
        """Read four."""
        self.num_steps += 1
        self._waiting = max(0, self._waiting - 4)


def test_prompts_are_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reading is of new prompts, all there at once, and ends with the last of them."""
    engine = Reader()
    stepped = Stepped.__new__(Stepped)
    stepped.__dict__ |= {"_engine": engine, "_ids": range(100), "_random": Random(0)}
    profiled = Profiled(stepped)

    def timed(_: Profiled, work: Callable[[], None], parts: int) -> dict[str, int]:
        before = len(engine.added)
        work()
        assert len(engine.added) - before == 10 * parts
        return {"clock_us": 1}

    monkeypatch.setattr(Profiled, "_timed", timed)
    assert profiled.readings(10, 7) == {"requests": 10, "clock_us": 1}
    assert set(engine.added) == {(7, 1)}
    assert engine.num_steps == 3 * len(engine.added) // 10
    assert not engine.has_unfinished_requests()
