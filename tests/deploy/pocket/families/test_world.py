"""Has every question on the world one answer?"""

from itertools import islice

import pytest

from deploy.pocket.data import examples
from deploy.pocket.families.world import RELATIONS


def test_the_world_has_enough_facts() -> None:
    """About 150 facts."""
    assert sum(len(relation.facts) for relation in RELATIONS.values()) >= 140


@pytest.mark.parametrize("kind", RELATIONS)
def test_what_is_asked_backwards_has_one_answer(kind: str) -> None:
    """No two facts of a kind that is asked backwards share their right side, or lead from each other."""
    relation = RELATIONS[kind]
    if relation.backwards:
        answers = list(relation.facts.values())
        assert len(set(answers)) == len(answers)
        assert not set(answers) & set(relation.facts)


def test_each_question_has_one_answer() -> None:
    """The same question is answered the same in both splits and at every effort."""
    known: dict[str, str | None] = {}
    for split in ("train", "held_out"):
        for example in islice(examples(9, split, ["world"]), 2000):
            assert (
                known.setdefault(example.request["messages"][0]["content"], example.content)
                == example.content
            )
