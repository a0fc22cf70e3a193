"""Are greetings and sums answered in the language of the question?"""

from itertools import islice

from deploy.pocket.data import examples
from deploy.pocket.families.languages import LANGUAGES


def test_greetings_name_who_greeted() -> None:
    """The name that was said is greeted."""
    for example in islice(examples(3, "held_out", ["languages.greetings"]), 100):
        assert example.key[0] in (example.content or "")


def test_sums_repeat_the_question_in_its_language() -> None:
    """The answer is a sentence with the sum as it was asked."""
    for example in islice(examples(4, "train", ["languages.sums"]), 200):
        left, sign, right = example.key
        told = [f"{left} {language.verbs['+-*'.index(sign)]} {right}" for language in LANGUAGES]
        asked = next(one for one in told if one in example.request["messages"][0]["content"])
        assert (example.content or "").startswith(asked)
        assert (example.content or "").endswith(f" {eval(f'{left} {sign} {right}')}.")
