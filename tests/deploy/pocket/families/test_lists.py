"""Are lists ordered, counted and summed rightly?"""

from itertools import islice

import pytest

from deploy.pocket.data import examples
from deploy.pocket.families.example import Example
from deploy.pocket.families.lists import PLACES


def expected(example: Example) -> str:
    """The answer, worked out from the task and the items alone."""
    task, *items = example.key
    values = [int(item) for item in items] if example.family == "lists.numbers" else items
    prompt = example.request["messages"][0]["content"]
    if task == "place":
        return str(next(items[place] for place, name in enumerate(PLACES) if f" {name} " in prompt))
    answers = {
        "sort": lambda: ", ".join(map(str, sorted(values))),
        "sort down": lambda: ", ".join(map(str, sorted(values, reverse=True))),
        "reverse": lambda: ", ".join(reversed(items)),
        "largest": lambda: str(max(values)),
        "smallest": lambda: str(min(values)),
        "count": lambda: str(len(items)),
        "sum": lambda: str(sum(values)),
    }
    return answers[task]()


@pytest.mark.parametrize("family", ["lists.numbers", "lists.words"])
def test_answers_follow_from_the_items(family: str) -> None:
    """The items stand in the question, and the answer is theirs."""
    for example in islice(examples(4, "train", [family]), 400):
        assert ", ".join(example.key[1:]) in example.request["messages"][0]["content"]
        assert example.content == expected(example)
