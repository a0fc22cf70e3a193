"""Engine groups of two ranks, also over two nodes, through the plan and Ray Serve, with the real engine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

TIMEOUT_S = 560


@pytest.fixture(scope="module")
def answers(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the script next to this file got from each plan."""
    file = tmp_path_factory.mktemp("two_nodes") / "answers.json"
    paths = (Path(__file__).with_name("two_nodes.py"), checkpoint / "target", file)
    script = subprocess.Popen([sys.executable, *paths])
    try:
        assert script.wait(TIMEOUT_S) == 0
    finally:
        script.terminate()
        script.wait(30)
    loaded: dict[str, dict[str, Any]] = json.loads(file.read_text())
    return loaded


@pytest.mark.parametrize("plan", ["tp-over-nodes", "dp-over-nodes"])
def test_two_ranks_answer_as_one(answers: dict[str, dict[str, Any]], plan: str) -> None:
    """The float32 greedy tokens of every prompt are those of a single rank."""
    assert answers[plan]["tokens"] == answers["one-rank"]["tokens"]


@pytest.mark.parametrize("plan", ["tp-over-nodes", "dp-over-nodes"])
def test_each_node_runs_one_rank(answers: dict[str, dict[str, Any]], plan: str) -> None:
    """The two ranks are Ray actors on different nodes."""
    assert len(answers[plan]["rank_nodes"]) == 2
    assert len(set(answers[plan]["rank_nodes"])) == 2


def test_a_group_that_lost_a_rank_restarts_whole(answers: dict[str, dict[str, Any]]) -> None:
    """The stream ends in an error within 10 s; the replica says that it leaves; all ranks are new."""
    loss = answers["tp-over-nodes"]["loss"]
    print(f"{loss['ends']} after {loss['ends_s']:.1f} s, back after {loss['restart_s']:.1f} s")
    assert all(loss["ends"])
    assert loss["ends_s"] < 10
    assert loss["num_leaving"] == 1
    assert loss["survivors"] == []
    assert loss["tokens"] == answers["one-rank"]["tokens"]
