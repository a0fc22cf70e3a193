"""Do the stories' answers follow from their numbers?"""

import re
from itertools import islice

from deploy.pocket.data import examples


def test_the_numbers_of_the_story_are_those_of_the_steps() -> None:
    """Every number that is told is used, in a step or as the first of them."""
    for example in islice(examples(2, "train", ["arithmetic.word_problem"]), 300):
        told = sorted(int(number) for number in re.findall(r"\d+", example.request["messages"][0]["content"]))
        _, *steps = example.key
        used = sorted([steps[0][0], *(right for _, _, right in steps)])
        assert told == used


def test_steps_lead_to_the_answer() -> None:
    """Each step goes on from the result of the one before, the last gives the answer."""
    for example in islice(examples(3, "held_out", ["arithmetic.word_problem"]), 300):
        _, *steps = example.key
        result = steps[0][0]
        for left, sign, right in steps:
            assert left == result
            result = eval(f"{left} {sign} {right}")
        assert str(int(result)) == example.content
