"""Engine groups of two ranks, also over two nodes, through the plan and Ray Serve, with the real engine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.deploy.pocket.truth_transformers import Reference
from tests.e2e.two_nodes import NUM_TOKENS, PLANS, PROMPTS

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

TIMEOUT_S = 1500


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


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    """The same checkpoint in one process of transformers, in float32."""
    return Reference(checkpoint / "target")


def assert_greedy(continuations: list[list[int]], reference: Reference) -> None:
    """Each token of every prompt's continuation is the reference's best, after those before it."""
    for prompt, tokens in zip(PROMPTS, continuations, strict=True):
        logits = reference.logits(torch.tensor([*prompt, *tokens[:-1]]), [], NUM_TOKENS)
        assert logits.argmax(-1).tolist() == tokens


@pytest.mark.parametrize("plan", PLANS)
def test_two_ranks_answer_as_one_model(
    answers: dict[str, dict[str, Any]], reference: Reference, plan: str
) -> None:
    """The tokens of every prompt are those of the whole model in one process."""
    assert_greedy(answers[plan]["tokens"], reference)


@pytest.mark.parametrize("plan", PLANS)
def test_each_node_runs_one_rank(answers: dict[str, dict[str, Any]], plan: str) -> None:
    """The two ranks are Ray actors on different nodes."""
    assert len(answers[plan]["rank_nodes"]) == 2
    assert len(set(answers[plan]["rank_nodes"])) == 2


@pytest.mark.parametrize("plan", PLANS)
def test_a_group_that_lost_a_rank_restarts_whole(
    answers: dict[str, dict[str, Any]], reference: Reference, plan: str
) -> None:
    """Its streams end in errors within 10 s; the replica says what was lost and leaves; all ranks are new."""
    loss = answers[plan]["loss"]
    print(f"{loss['ends']} after {loss['ends_s']:.1f} s, back after {loss['restart_s']:.1f} s")
    assert all(loss["ends"])
    assert loss["ends_s"] < 10
    (said,) = loss["leaving"]
    assert "the engine has lost" in said
    assert loss["survivors"] == []
    assert_greedy(loss["tokens"], reference)
