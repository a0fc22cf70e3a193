"""Sums of one step and of three: what is asked, what are the steps, and which numbers are held out?"""

from deploy.pocket.families.draw import Draw, is_held_out
from deploy.pocket.families.example import Example

Step = tuple[int, str, int]
"""A left operand, one of + - * /, a right operand."""

VERBS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
ONE_STEP = (
    "What is {a} {sign} {b}?",
    "{a} {sign} {b} =",
    "Compute {a} {verb} {b}.",
    "How much is {a} {verb} {b}?",
    "Calculate {a} {sign} {b}.",
    "{a} {verb} {b}?",
    "Tell me the result of {a} {sign} {b}.",
)
THREE_STEP = (
    "What is {sum}?",
    "{sum} =",
    "Compute {sum}.",
    "Calculate {sum}.",
    "Work out {sum}.",
    "How much is {sum}?",
)


def value(step: Step) -> int:
    """The result of a step; a division must be exact."""
    left, sign, right = step
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    assert left % right == 0, f"{left} / {right} is not exact"
    return left // right


def line(step: Step) -> str:
    """A step as the reasoning writes it."""
    left, sign, right = step
    return f"{left} {sign} {right} = {value(step)}"


def step_is_held_out(step: Step) -> bool:
    """Whether a step may only be asked of the model, never shown; the small tables are always shown.

    Sums and products are held out whichever way round.
    """
    left, sign, right = step
    if max(left, right) < 20 or (sign in "+-" and min(left, right) < 10) or (sign == "/" and left < 100):
        return False
    if sign in "+*":
        left, right = sorted((left, right))
    return is_held_out(left, sign, right)


def one_step_content(draw: Draw, largest: int = 999) -> Step:
    """A step of the split, with operands and result from 0 to `largest`; half of the numbers are short."""
    return draw.content(lambda: _any_step(draw, largest), step_is_held_out)


def _any_step(draw: Draw, largest: int) -> Step:
    sign = draw.of("++--**/")
    high = draw.of((20, 99, largest, largest)) if largest > 99 else largest
    left, right = draw.number(0, high), draw.number(0, high)
    if sign == "+":
        return (left, sign, right) if left + right <= largest else (left, "-", min(left, right))
    if sign == "-":
        return max(left, right), sign, min(left, right)
    digit, other = draw.number(2, 9), draw.number(2, min(99, largest // 9))
    if sign == "/":
        return digit * other, sign, digit
    return (digit, sign, other) if draw.chance(0.5) else (other, sign, digit)


def one_step(draw: Draw) -> Example:
    """A sum of two numbers."""
    step = one_step_content(draw)
    left, sign, right = step
    prompt = draw.of(ONE_STEP).format(a=left, sign=sign, b=right, verb=VERBS[sign])
    return draw.example(
        "arithmetic.one_step",
        prompt,
        str(value(step)),
        key=step,
        effort=draw.effort(0.25),
        reasoning=line(step),
    )


def three_step(draw: Draw) -> Example:
    """An expression of four numbers; at high each step has its line, at none only the result is said."""
    text, steps = draw.content(lambda: _any_expression(draw), lambda content: _is_held_out(draw, content))
    prompt = draw.of(THREE_STEP).format(sum=text)
    return draw.example(
        "arithmetic.three_step",
        prompt,
        str(value(steps[-1])),
        key=(text,),
        effort=draw.effort(0.7),
        reasoning="\n".join(line(step) for step in steps),
    )


def _is_held_out(draw: Draw, content: tuple[str, tuple[Step, ...]]) -> bool:
    """By its text; in training an expression with a held-out step counts as held out too."""
    text, steps = content
    shown = draw.split == "train"
    return is_held_out(text) or (shown and any(step_is_held_out(step) for step in steps))


def _any_expression(draw: Draw) -> tuple[str, tuple[Step, ...]]:
    while True:
        text, steps = _product_inside(draw) if draw.chance(0.25) else _left_to_right(draw)
        if all(0 <= value(step) < 1000 for step in steps):
            return text, steps


def _left_to_right(draw: Draw) -> tuple[str, tuple[Step, ...]]:
    result = draw.number(2, 99)
    text, last = str(result), ""
    steps: list[Step] = []
    for _ in range(3):
        sign = draw.of("+-*")
        right = draw.number(2, 9) if sign == "*" else draw.number(2, 99)
        if sign == "*" and last in ("+", "-"):
            text = f"({text})"
        text = f"{text} {sign} {right}"
        steps.append((result, sign, right))
        result, last = value(steps[-1]), sign
    return text, tuple(steps)


def _product_inside(draw: Draw) -> tuple[str, tuple[Step, ...]]:
    first, left, right, last = draw.number(2, 99), draw.number(2, 30), draw.number(2, 9), draw.number(2, 99)
    before, after = draw.of("+-"), draw.of("+-")
    product: Step = (left, "*", right)
    middle: Step = (first, before, value(product))
    steps = (product, middle, (value(middle), after, last))
    return f"{first} {before} {left} * {right} {after} {last}", steps
