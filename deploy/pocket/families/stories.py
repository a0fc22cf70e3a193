"""Sums of one to three steps told as a small story: who has how many of what?"""

from deploy.pocket.families import words
from deploy.pocket.families.arithmetic import Step, line, one_step_content, step_is_held_out, value
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example

ONE_STEP = {
    "+": (
        "{name} has {a} {things} and buys {b} more. How many {things} does {name} have?",
        "{name} finds {a} {things} on Monday and {b} on Tuesday. How many is that?",
        "There are {a} {things} on the table. {name} adds {b}. How many are there now?",
    ),
    "-": (
        "{name} has {a} {things} and gives {b} to {other}. How many are left?",
        "{name} had {a} {things} and lost {b}. How many {things} does {name} have?",
        "Of {a} {things}, {name} sells {b}. How many remain?",
    ),
    "*": (
        "{name} has {a} bags with {b} {things} each. How many {things} is that?",
        "{name} buys {a} rows of {b} {things}. How many {things} are there?",
        "Each of {a} friends gives {name} {b} {things}. How many does {name} get?",
    ),
    "/": (
        "{name} shares {a} {things} among {b} friends. How many does each get?",
        "{name} puts {a} {things} into {b} equal bags. How many are in each bag?",
        "{b} friends split {a} {things} equally. How many for each?",
    ),
}
LATER = {
    "+": ("{name} buys {b} more.", "{other} brings {b} more.", "Then {name} finds {b}."),
    "-": ("{name} gives {b} to {other}.", "{name} loses {b}.", "Then {name} sells {b}."),
    "*": ("Now {name} gets {b} times as many.", "The number grows {b} times."),
}
LAST = (
    "How many does {name} have now?",
    "How many {things} are there now?",
    "How many are there in the end?",
)


def word_problem(draw: Draw) -> Example:
    """A story of one step, or at effort high also of two or three."""
    effort = draw.effort(0.65)
    people = {"name": words.name(draw), "other": words.name(draw), "things": draw.of(words.THINGS)}
    if effort == "none" or draw.chance(0.35):
        steps: tuple[Step, ...] = (one_step_content(draw, draw.of((99, 999))),)
        left, sign, right = steps[0]
        prompt = draw.of(ONE_STEP[sign]).format(a=left, b=right, **people)
    else:
        steps = draw.content(lambda: _any_steps(draw), lambda found: any(map(step_is_held_out, found)))
        told = ["{name} has {a} {things}.".format(a=steps[0][0], **people)]
        told += [draw.of(LATER[sign]).format(b=right, **people) for _, sign, right in steps]
        prompt = " ".join([*told, draw.of(LAST).format(**people)])
    return draw.example(
        "arithmetic.word_problem",
        prompt,
        str(value(steps[-1])),
        key=(people["name"], *steps),
        effort=effort,
        reasoning="\n".join(map(line, steps)),
    )


def _any_steps(draw: Draw) -> tuple[Step, ...]:
    count = draw.number(2, 3)
    while True:
        result = draw.number(5, 99)
        steps: list[Step] = []
        for _ in range(count):
            sign = draw.of("++--*")
            steps.append((result, sign, draw.number(2, 5) if sign == "*" else draw.number(2, 60)))
            result = value(steps[-1])
        if all(0 <= value(step) < 1000 for step in steps):
            return tuple(steps)
