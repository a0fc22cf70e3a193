"""Are the sums right, and do held-out sums stay out of everything that training shows?"""

import re
from itertools import islice

import pytest

from deploy.pocket.data import examples
from deploy.pocket.families.arithmetic import step_is_held_out
from deploy.pocket.families.example import Split

STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
RECKONING = (
    "arithmetic",
    "lists.numbers",
    "languages.sums",
    "manners.system",
    "talks.follow_up",
    "tools.no_call",
)


def asked(text: str) -> str:
    """The expression in a question, its verbs as signs."""
    for verb, sign in (("plus", "+"), ("minus", "-"), ("times", "*"), ("divided by", "/")):
        text = text.replace(verb, sign)
    found = re.search(r"[\d(][\d()+*/ -]*[\d)]", text)
    assert found, text
    return found[0]


@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("family", ["arithmetic.one_step", "arithmetic.three_step"])
def test_answers_are_what_python_reckons(family: str, split: Split) -> None:
    """The answer is the expression's value, a whole number from 0 to 999, and the last line ends with it."""
    for example in islice(examples(5, split, [family]), 300):
        result = eval(asked(example.request["messages"][0]["content"]))
        assert result == int(example.content or "")
        assert 0 <= result < 1000
        if example.reasoning:
            assert example.reasoning.endswith(f" = {example.content}")
            assert example.reasoning.count("\n") == (0 if family.endswith("one_step") else 2)


def test_every_line_of_reasoning_is_right() -> None:
    """Each step that is written out, in any family, holds."""
    for split in ("train", "held_out"):
        for example in islice(examples(6, split, RECKONING), 1000):
            for left, sign, right, result in STEP.findall(example.reasoning or ""):
                assert eval(f"{left} {sign} {right}") == int(result), example


def test_training_shows_no_held_out_step() -> None:
    """Held-out sums occur in no reasoning and no one-step question of training."""
    for example in islice(examples(8, "train", RECKONING), 3000):
        for left, sign, right, _ in STEP.findall(example.reasoning or ""):
            assert not step_is_held_out((int(left), sign, int(right))), example
        if example.family == "arithmetic.one_step":
            assert not step_is_held_out(example.key)


def test_small_tables_are_never_held_out() -> None:
    """Single-digit products, quotients and sums are all for training; about a twelfth of the rest is not."""
    assert not any(step_is_held_out((a, sign, b)) for a in range(10) for b in range(10) for sign in "+-*/")
    large = [step_is_held_out((a, "+", b)) for a in range(100, 200) for b in range(100, 200)]
    assert 0.06 < sum(large) / len(large) < 0.10
    assert step_is_held_out((57, "+", 81)) == step_is_held_out((81, "+", 57))
