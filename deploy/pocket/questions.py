"""Which held-out questions is the pocket model asked, how many of each family, and at which effort?

    python -m deploy.pocket.questions [--count N] [--seed N] > sums.jsonl

writes sums of one step and of three, N of each, for lm-evaluation-harness, whose task is `sums.yaml`.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from deploy.pocket.data import examples
from deploy.pocket.families.example import Effort, Example

DEMANDED = {
    "arithmetic.one_step": 1.0,
    "arithmetic.three_step": 1.0,
    "tools.seen": 1.0,
    "tools.unseen": 1.0,
    "schemas": 1.0,
    "pictures.shapes": 1 / 3,
    "pictures.number": 1 / 3,
    "pictures.pair": 1 / 3,
}
"""Families with a goal of their own, and each one's part of the questions behind it."""

OTHERS = 0.25
"""The part of every other family."""

DRAWS_A_QUESTION = 50


def questions(seed: int, count: int, families: Sequence[str]) -> list[Example]:
    """What is asked, `count` questions behind each goal, in the order of `families`.

    Sums of one step have their goal at effort none and are asked there; those of three steps are asked
    at both, the same ones. Other families come at the efforts they are drawn at.
    """
    chosen: list[Example] = []
    for name in families:
        num = math.ceil(count * DEMANDED.get(name, OTHERS))
        if name == "arithmetic.three_step":
            at_high = sample(name, num, seed, "high")
            chosen += at_high + [without_reasoning(example) for example in at_high]
        else:
            chosen += sample(name, num, seed, "none" if name == "arithmetic.one_step" else None)
    return chosen


def sample(name: str, count: int, seed: int, effort: Effort | None = None) -> list[Example]:
    """Different held-out examples of a family; less than `count` where it has hardly more."""
    found: dict[str, Example] = {}
    for example in islice(examples(seed, "held_out", [name]), DRAWS_A_QUESTION * count):
        if effort in (None, example.effort):
            # No effort is effort none: such requests differ in writing only.
            found.setdefault(json.dumps(example.request | {"reasoning_effort": example.effort}), example)
        if len(found) == count:
            break
    return list(found.values())


def without_reasoning(example: Example) -> Example:
    """The same question at effort none."""
    return replace(example, request=example.request | {"reasoning_effort": "none"}, reasoning=None)


def main(argv: Sequence[str] | None = None) -> None:
    """Print sums, a JSON object with `question` and `answer` a line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.pocket.questions", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="of each number of steps (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="%(default)s")
    options = parser.parse_args(argv)
    for family in ("arithmetic.one_step", "arithmetic.three_step"):
        for example in sample(family, options.count, options.seed, "high"):
            (message,) = example.request["messages"]
            print(json.dumps({"question": message["content"], "answer": example.content}))


if __name__ == "__main__":
    main()
