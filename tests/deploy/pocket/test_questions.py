"""Are the right questions asked, as many as promised, and the same ones at both efforts?"""

import json

import pytest
import yaml
from jinja2 import Template

from deploy.pocket.families import FAMILIES
from deploy.pocket.families.draw import is_held_out
from deploy.pocket.questions import main, questions, sample, without_reasoning
from serve_app.config import PROJECT_ROOT


def test_each_goal_has_its_count() -> None:
    """A goal has `count` questions behind it, other families have a quarter."""
    asked = questions(3, 12, list(FAMILIES))
    num = {name: sum(example.family == name for example in asked) for name in FAMILIES}
    assert num["arithmetic.one_step"] == num["tools.seen"] == num["tools.unseen"] == num["schemas"] == 12
    assert num["arithmetic.three_step"] == 24
    assert num["pictures.shapes"] == num["pictures.number"] == num["pictures.pair"] == 4
    assert num["world"] == num["tools.parallel"] == 3


def test_one_step_is_asked_without_reasoning() -> None:
    """The goal for single steps is at effort none."""
    assert {example.effort for example in questions(3, 20, ["arithmetic.one_step"])} == {"none"}


def test_three_steps_are_asked_at_both_efforts() -> None:
    """Each expression comes at high and at none, and the requests differ in nothing else."""
    asked = questions(3, 20, ["arithmetic.three_step"])
    at_high, at_none = asked[:20], asked[20:]
    assert {example.effort for example in at_high} == {"high"}
    assert {example.effort for example in at_none} == {"none"}
    for one, other in zip(at_high, at_none, strict=True):
        assert one.request["messages"] == other.request["messages"]
        assert (one.content, one.key) == (other.content, other.key)
        assert is_held_out(*one.key)


def test_the_twin_does_not_reason() -> None:
    """The example itself stays as it was."""
    (example,) = sample("arithmetic.three_step", 1, 5, "high")
    twin = without_reasoning(example)
    assert twin.effort == "none"
    assert twin.reasoning is None
    assert example.effort == "high"
    assert example.reasoning


def test_no_question_is_asked_twice() -> None:
    """Requests differ in more than in how they write effort none, and a small family ends."""
    for name in ("world", "manners.unnamed"):
        found = sample(name, 60, 1)
        written = {json.dumps([example.request["messages"], example.effort]) for example in found}
        assert len(written) == len(found)
    assert len(found) < 60


def test_the_seed_decides() -> None:
    """Equal seeds give equal questions."""
    names = ["tools.seen", "pictures.pair"]
    assert questions(1, 6, names) == questions(1, 6, names) != questions(2, 6, names)


def test_written_sums_are_what_the_task_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line fills the templates of sums.yaml with a held-out question and its own answer."""
    main(["--count", "5"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 10
    task = yaml.safe_load((PROJECT_ROOT / "deploy/pocket/sums.yaml").read_text())
    asked = [Template(task["doc_to_text"]).render(line) for line in lines]
    right = [Template(task["doc_to_target"]).render(line) for line in lines]
    known = {
        example.request["messages"][0]["content"]: example.content
        for steps in ("one_step", "three_step")
        for example in sample(f"arithmetic.{steps}", 5, 1, "high")
    }
    assert dict(zip(asked, right, strict=True)) == known
