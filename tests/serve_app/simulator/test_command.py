"""Do the commands print what they should, and does every shipped scenario run?"""

import json
from pathlib import Path

import pytest

from serve_app.__main__ import main
from serve_app.config import PROJECT_ROOT
from serve_app.simulator.cluster import simulate
from serve_app.simulator.record import Outcome
from serve_app.simulator.scenario import Closed, Scenario, Trace, load

SCENARIOS = sorted((PROJECT_ROOT / "deploy/scenarios").glob("*.yaml"))
SMALL = """
duration_s: 5
arrivals: {kind: poisson, rate_per_s: 4}
efforts: {none: {share: 0.5, answer: {median: 50}}, high: {share: 0.5, answer: {median: 50}}}
pools:
  throughput: {efforts: [none], max_num_seqs: 16}
  latency: {efforts: [high], max_num_seqs: 8}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small scenario."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def shortened(scenario: Scenario) -> Scenario:
    """Return as much of a scenario as a test has time for."""
    if isinstance(scenario.arrivals, Closed | Trace):
        return scenario
    duration_s = scenario.duration_s if len(scenario.failures) else 8.0
    pools = {
        name: pool.model_copy(update={"replicas": min(4, pool.replicas)})
        for name, pool in scenario.pools.items()
    }
    rate = {"rate_per_s": min(4.0, getattr(scenario.arrivals, "rate_per_s", 4.0))}
    arrivals = scenario.arrivals.model_copy(update=rate if hasattr(scenario.arrivals, "rate_per_s") else {})
    changes = {"duration_s": duration_s, "warm_up_s": 0.0, "cells": 1, "pools": pools, "arrivals": arrivals}
    return scenario.model_copy(update=changes)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_shipped_scenarios_run(path: Path) -> None:
    """Each one loads, and ends with most requests answered."""
    records = simulate(shortened(load(path))).records
    answered = sum(record.outcome is Outcome.ANSWERED for record in records)
    assert answered > 0.9 * len(records) > 5


def test_simulate_compares_and_draws(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column for each file, and a picture."""
    other = tmp_path / "other.yaml"
    other.write_text(SMALL.replace("rate_per_s: 4", "rate_per_s: 6"))
    picture = tmp_path / "both.svg"
    assert main(["simulate", str(file), "--compare", str(other), "--plot", str(picture)]) == 0
    heading = capsys.readouterr().out.splitlines()[0]
    assert heading.split() == ["simulated,", "not", "measured", "small", "other"]
    assert "simulated" in picture.read_text()


def test_simulate_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON, which says that it is simulated."""
    assert main(["simulate", str(file), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["small"]
    assert summary["simulated"] is True
    assert summary["efforts"]["none"]["outcomes"]["answered"] > 0


def test_capacity(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GPUs, and replicas by pool."""
    assert main(["capacity", str(file)]) == 0
    assert capsys.readouterr().out.startswith("2 H200 (throughput: 1, latency: 1)")


def test_divide(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where any will do, no split is taken."""
    assert main(["divide", str(file), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["goodput_per_s"]) == ["all throughput", "all latency", "1 throughput + 1 latency"]
    assert answer["chosen"].startswith("all ")


def test_mistakes_end_with_2(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a line for each."""
    file.write_text(SMALL.replace("duration_s", "duration"))
    assert main(["simulate", str(file)]) == 2
    assert capsys.readouterr().err == "duration: unknown key; did you mean 'duration_s'?\n"


def test_files_of_one_name_are_two_columns(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each under its path."""
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_text(SMALL.replace("rate_per_s: 4", "rate_per_s: 2"))
    assert main(["simulate", "--json", "--compare", str(file), str(other)]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [str(file), str(other)]


@pytest.mark.parametrize("name", ["nowhere/x.png", "x.nothing"])
def test_a_picture_that_cannot_be_drawn(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """One line names the file."""
    assert main(["simulate", str(file), "--plot", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith(f"--plot={tmp_path / name}: ")


def test_more_clients_than_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All requests come, at once."""
    few = SMALL.replace("{kind: poisson, rate_per_s: 4}", "{kind: closed, concurrency: 60, num_requests: 50}")
    (tmp_path / "few.yaml").write_text(few)
    assert main(["simulate", "--json", str(tmp_path / "few.yaml")]) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    assert sum(group["num_requests"] for group in found["efforts"].values()) == 50
