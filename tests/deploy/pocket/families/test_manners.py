"""Does the answer keep the manner that the system prompt asks for?"""

from itertools import islice

from deploy.pocket.data import examples
from deploy.pocket.families.manners import SELF, SHOUT


def test_upper_case_is_kept() -> None:
    """Where capitals alone are asked for, the answer has no small letter."""
    for example in islice(examples(3, "train", ["manners.system"]), 200):
        system = example.request["messages"][0]["content"]
        if system in SHOUT:
            assert example.content == (example.content or "").upper()


def test_the_name_of_the_system_prompt_is_taken() -> None:
    """Who it is, is said with the name given."""
    found = list(islice(examples(4, "held_out", ["manners.named"]), 100))
    told = [example for example in found if (example.content or "").startswith("I am ")]
    assert len(told) > 50
    assert all(example.key[0] in (example.content or "") for example in told)


def test_without_a_name_it_is_the_pocket_model() -> None:
    """The plain question has the fixed answer, without a system prompt."""
    found = list(islice(examples(5, "train", ["manners.unnamed"]), 100))
    assert SELF in {example.content for example in found}
    assert all(len(example.request["messages"]) == 1 for example in found)
