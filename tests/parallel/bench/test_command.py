"""`python -m parallel bench`: options become cases, mistakes one line."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from parallel.__main__ import main
from parallel.bench import command
from parallel.bench.case import Case
from parallel.bench.driver import Target, Workload

ROOT = Path(__file__).resolve().parent.parent.parent.parent


def options(*given: str) -> argparse.Namespace:
    """The parsed options of a command line."""
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(given)


def test_cases(tmp_path: Path) -> None:
    """Every combination, but no redundant experts where experts are not divided."""
    given = ["--layout", "tp1", "tp2+ep", "--redundant-experts", "0", "16", "--draft-tokens", "0", "3"]
    found = command.cases(options(*given, "--acceptance", "2.6", "--out", str(tmp_path / "b.json")))
    assert [case.key for case in found] == [
        "tp1",
        "tp1, k=3, acceptance=2.6",
        "tp2+ep",
        "tp2+ep, k=3, acceptance=2.6",
        "tp2+ep, 16 redundant, default",
        "tp2+ep, k=3, acceptance=2.6, 16 redundant, default",
    ]


def test_target_without_weights(tmp_path: Path) -> None:
    """Both checkpoints are written beside the results; what differs from the full model is in the words."""
    given = options("--layout", "tp1", "--layers", "18", "--out", str(tmp_path / "b.json"))
    given.engine = ["moe_backend=cutlass", "max_num_batched_tokens=8192"]
    found = command.target(given, command.cases(given))
    assert json.loads((Path(found.model) / "params.json").read_text())["n_layers"] == 18
    assert found.draft is not None
    assert "eagle" in Path(found.draft).name
    assert found.extra == {"moe_backend": "cutlass", "max_num_batched_tokens": 8192}
    assert found.words == ("18 layers", "moe_backend=cutlass", "max_num_batched_tokens=8192")
    assert found.dummy


def test_target_with_weights(tmp_path: Path) -> None:
    """The draft head of a checkpoint is the one beside it."""
    pocket = ROOT / "deploy" / "pocket"
    given = options("--layout", "tp1", "--model", str(pocket / "target"), "--out", str(tmp_path / "b.json"))
    found = command.target(given, command.cases(given))
    assert (found.model, found.draft) == (str(pocket / "target"), str(pocket / "eagle"))
    assert (found.params["vocab_size"], found.dummy) == (9216, False)


@pytest.mark.parametrize(("num_rows", "status"), [(2, 0), (1, 1)])
def test_status(num_rows: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 only if every case has a row for each number of requests."""

    def run(todo: list[Case], asked: Target, work: Workload, out: Path, budget_s: float) -> dict[str, Any]:
        assert (work.levels, out, budget_s) == ((1, 2), tmp_path / "b.json", 400)
        rows = [{"requests": requests} for requests in work.levels[:num_rows]]
        return {"cases": {asked.key(case): {"rows": rows} for case in todo}}

    monkeypatch.setattr(command, "run", run)
    given = ["--layout", "tp1", "tp2", "--layers", "18", "--concurrency", "1", "2"]
    assert main(["bench", *given, "--out", str(tmp_path / "b.json")]) == status


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--layout", "ep2"], "bench: layout='ep2' must be as 2xtp1"),
        (["--concurrency", "0"], "bench: --concurrency=0 must be at least 1"),
        (["--answer", "1"], "bench: --answer=1 must be at least 2"),
        (["--engine", "max_seqs=3"], "bench: --engine max_seqs: vLLM's engine has no such argument"),
        (["--env", "A"], "bench: 'A' must be as NAME=VALUE"),
        (["--kernels", "/nowhere"], "bench: [Errno 2] No such file"),
        (["--model", "/nowhere"], "bench: [Errno 2] No such file"),
    ],
)
def test_mistakes_are_one_line(
    given: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started."""
    assert main(["bench", "--layout", "tp1", "--out", str(tmp_path / "b.json"), *given]) == 2
    assert capsys.readouterr().err.startswith(line)


def test_draft_tokens_without_a_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither given nor beside the target."""
    params = (ROOT / "deploy" / "pocket" / "target" / "params.json").read_text()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "params.json").write_text(params)
    given = ["--model", str(tmp_path / "model"), "--draft-tokens", "3", "--out", str(tmp_path / "b.json")]
    assert main(["bench", "--layout", "tp1", *given]) == 2
    assert "no draft head" in capsys.readouterr().err
