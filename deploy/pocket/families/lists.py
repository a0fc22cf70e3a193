"""Tasks on short lists of numbers or words: order, reverse, largest, count, sum, place."""

from collections.abc import Callable
from itertools import accumulate

from deploy.pocket.families import words
from deploy.pocket.families.arithmetic import Step, line, step_is_held_out
from deploy.pocket.families.draw import Draw, is_held_out
from deploy.pocket.families.example import Effort, Example

PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")
PROMPTS = {
    "sort": (
        "Sort these {kind}: {items}.",
        "Put these {kind} in order: {items}.",
        "Order the {kind} {items} from {low} to {high}.",
    ),
    "sort down": (
        "Sort these {kind} from {high} to {low}: {items}.",
        "Order the {kind} {items} from {high} to {low}.",
    ),
    "reverse": ("Reverse this list: {items}.", "Write these {kind} backwards: {items}.", "Reverse {items}."),
    "largest": (
        "What is the largest of {items}?",
        "Which number is the largest: {items}?",
        "Maximum of {items}?",
    ),
    "smallest": (
        "What is the smallest of {items}?",
        "Which number is the smallest: {items}?",
        "Minimum of {items}?",
    ),
    "count": ("How many {kind} are in this list: {items}?", "Count the {kind}: {items}."),
    "sum": ("Add up {items}.", "What is the sum of {items}?", "Sum: {items}"),
    "place": (
        "What is the {place} of these {kind}: {items}?",
        "Give me the {place} item of this list: {items}.",
        "Which is {place} in {items}?",
    ),
}
NUMBER_TASKS = ("sort", "sort", "sort down", "reverse", "largest", "smallest", "count", "sum", "sum", "place")
WORD_TASKS = ("sort", "reverse", "count", "place")


def numbers(draw: Draw) -> Example:
    """A task on three to six numbers; sums have at most five, of up to 60."""
    task = draw.of(NUMBER_TASKS)
    if task == "sum":
        items = draw.content(lambda: _any(draw, 60, 5), _sum_is_held_out)
    else:
        items = draw.content(lambda: _any(draw, draw.of((20, 99, 999)), 6))
    return _example(draw, "lists.numbers", task, [str(item) for item in items], "numbers", str_key=int)


def texts(draw: Draw) -> Example:
    """A task on three to five words; words to sort begin with different letters."""
    task = draw.of(WORD_TASKS)

    def sample() -> tuple[str, ...]:
        while True:
            items = draw.some(words.WORDS, draw.number(3, 5))
            if len({item[0] for item in items}) == len(items):
                return tuple(items)

    items = draw.content(sample)
    return _example(draw, "lists.words", task, list(items), "words", str_key=str)


def _any(draw: Draw, largest: int, most: int) -> tuple[int, ...]:
    return tuple(draw.some(range(1, largest + 1), draw.number(3, most)))


def _sum_is_held_out(items: tuple[int, ...]) -> bool:
    return is_held_out(*items) or any(step_is_held_out(step) for step in _sum_steps(items))


def _sum_steps(items: tuple[int, ...]) -> list[Step]:
    sums = list(accumulate(items))
    return [(sums[place], "+", item) for place, item in enumerate(items[1:])]


def _example(
    draw: Draw, family: str, task: str, items: list[str], kind: str, str_key: Callable[[str], int | str]
) -> Example:
    place = draw.number(0, len(items) - 1)
    low, high = ("smallest", "largest") if kind == "numbers" else ("A", "Z")
    if task == "sort down":
        assert kind == "numbers", "words are sorted one way only"
    prompt = draw.of(PROMPTS[task]).format(
        kind=kind, items=", ".join(items), low=low, high=high, place=PLACES[place]
    )
    ordered = sorted(items, key=str_key)
    numbered = "\n".join(f"{number}: {item}" for number, item in enumerate(items, 1))
    if task in ("sort", "sort down"):
        ordered = ordered[::-1] if task == "sort down" else ordered
        answer, reasoning = (
            ", ".join(ordered),
            f"First {ordered[0]}, then " + ", then ".join(ordered[1:]) + ".",
        )
    elif task == "reverse":
        answer, reasoning = ", ".join(items[::-1]), f"The last is {items[-1]}, the first is {items[0]}."
    elif task == "largest":
        so_far = accumulate(map(int, items), max)
        answer, reasoning = ordered[-1], "Largest so far: " + ", ".join(map(str, so_far))
    elif task == "smallest":
        so_far = accumulate(map(int, items), min)
        answer, reasoning = ordered[0], "Smallest so far: " + ", ".join(map(str, so_far))
    elif task == "count":
        answer, reasoning = str(len(items)), numbered
    elif task == "sum":
        values = tuple(map(int, items))
        answer, reasoning = str(sum(values)), "\n".join(map(line, _sum_steps(values)))
    else:
        answer, reasoning = items[place], numbered
    return draw.example(
        family, prompt, answer, key=(task, *items), effort=_effort(draw, task), reasoning=reasoning
    )


def _effort(draw: Draw, task: str) -> Effort:
    """Sums of several numbers and orders are asked at high more often."""
    return draw.effort(0.75 if task == "sum" else 0.5)
