"""What a step's kernels go into: every kernel once, and the documents' table is that of the measured file."""

import json
from pathlib import Path

import pytest

from parallel.__main__ import main
from parallel.bench.profile import parts, parts_table, table

ROOT = Path(__file__).parent.parent.parent.parent
MEASURED = json.loads((ROOT / "tests/bench/results/kernels-of-a-step-2026-11-28.json").read_text())


@pytest.mark.parametrize("row", MEASURED["rows"], ids=lambda row: str(row["requests"]))
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


def test_the_documented_table_is_the_measured_one() -> None:
    """parallel/README.md shows the file's figures."""
    assert parts_table(MEASURED) in (ROOT / "parallel" / "README.md").read_text()


@pytest.mark.parametrize("options", [["--layout", "tp2"], ["--layout", "tp1", "--draft-tokens", "0", "1"]])
def test_only_one_engine_on_one_gpu(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other layouts, and several cases at once, are refused before anything is written."""
    out = tmp_path / "out.json"
    assert main(["profile", *options, "--out", str(out)]) == 2
    assert "only one engine on one GPU is profiled" in capsys.readouterr().err
    assert not out.exists()
