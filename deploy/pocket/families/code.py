"""Short answers in Python: functions, loops, conditions and values."""

from deploy.pocket.families import words
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example

OPERATIONS = {
    "+": ("adds", "sum"),
    "-": ("subtracts", "difference"),
    "*": ("multiplies", "product"),
    "/": ("divides", "quotient"),
}
COMPARED = {">": "greater than", "<": "less than", "==": "equal to"}
PARAMETERS = ("a", "b", "c", "n", "m", "x", "y", "z", "p", "q")


def code(draw: Draw) -> Example:
    """A code block of one to three lines, whose names and numbers the question gives."""
    name = f"{words.word(draw)}_{words.word(draw)}" if draw.chance(0.3) else words.word(draw)
    first, second = draw.some(PARAMETERS, 2)
    low, high = draw.number(0, 20), draw.number(21, 99)
    kinds = ("operation", "operation", "loop", "constant", "condition", "list", "print", "change")
    kind = draw.of(kinds)
    while kind == "loop" and draw.split == "held_out":  # has no word that could be held out
        kind = draw.of(kinds)
    if kind == "operation":
        sign = draw.of("+-*/")
        verb, noun = OPERATIONS[sign]
        prompt = draw.of(
            (
                f"Write a Python function {name} that {verb} {first} and {second}.",
                f"Python: a function {name}({first}, {second}) that returns the {noun}.",
                f"Define {name} in Python so that it returns {first} {sign} {second}.",
            )
        )
        answer = f"def {name}({first}, {second}):\n    return {first} {sign} {second}"
        plan = f"{name} takes {first} and {second} and returns {first} {sign} {second}."
    elif kind == "loop":
        prompt = draw.of(
            (
                f"Write a Python loop over {first} that prints the numbers from {low} to {high}.",
                f"In Python, print each {first} from {low} to {high}.",
            )
        )
        answer = f"for {first} in range({low}, {high + 1}):\n    print({first})"
        plan = f"The range ends before {high + 1}."
    elif kind == "constant":
        prompt = draw.of((f"In Python, set {name} to {high}.", f"Python: let {name} be {high}."))
        answer, plan = f"{name} = {high}", "One assignment."
    elif kind == "condition":
        sign = draw.of(tuple(COMPARED))
        prompt = draw.of(
            (
                f"Write a Python function {name} that tells whether {first} is {COMPARED[sign]} {high}.",
                f"Python: {name}({first}) returns whether {first} {sign} {high}.",
            )
        )
        answer = f"def {name}({first}):\n    return {first} {sign} {high}"
        plan = f"The comparison is {first} {sign} {high}."
    elif kind == "list":
        prompt = draw.of(
            (
                f"Make a Python list {name} with {low}, {high} and {low + 1}.",
                f"Python: a list {name} of {low}, {high}, {low + 1}.",
            )
        )
        answer, plan = f"{name} = [{low}, {high}, {low + 1}]", "A list of three numbers."
    elif kind == "print":
        other = words.word(draw)
        prompt = draw.of(
            (f"Print {name} and {other} in Python.", f"Python code that prints the words {name} and {other}.")
        )
        answer, plan = f'print("{name}", "{other}")', "One call of print."
    else:
        sign = draw.of("+-*")
        prompt = draw.of(
            (
                f"Write a Python function {name} that returns {first} {sign} {high}.",
                f"Python: {name}({first}) gives {first} {sign} {high}.",
            )
        )
        answer = f"def {name}({first}):\n    return {first} {sign} {high}"
        plan = f"{name} takes {first} and returns {first} {sign} {high}."
    return draw.example(
        "code",
        prompt,
        f"```python\n{answer}\n```",
        key=(name,),
        effort=draw.effort(0.4),
        reasoning=plan,
    )
