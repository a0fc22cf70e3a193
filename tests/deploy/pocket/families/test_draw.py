"""Does a draw keep to its split, by the same hash everywhere?"""

from random import Random

from deploy.pocket.families.draw import Draw, is_held_out


def test_the_hash_never_changes() -> None:
    """These values are fixed: another hash would move content from one split to the other."""
    assert [number for number in range(60) if is_held_out("number", number)] == [32, 35, 53]


def test_content_is_of_the_split() -> None:
    """Training draws what is not held out, tests what is."""
    random = Random(0)
    for split in ("train", "held_out"):
        for _ in range(50):
            content = Draw(random, split).content(lambda: (random.randrange(10000),))
            assert is_held_out(*content) == (split == "held_out")


def test_call_ids_are_nine_letters_and_digits() -> None:
    """As the tokenizer of the model's family wants them."""
    call_id = Draw(Random(0), "train").call_id()
    assert len(call_id) == 9
    assert call_id.isalnum()
