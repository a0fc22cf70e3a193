"""Do words keep to their split, and read as names where names are wanted?"""

from random import Random

from deploy.pocket.families import words
from deploy.pocket.families.draw import Draw


def test_splits_share_no_word() -> None:
    """Names, cities and words of training are never held out, and there are many of both."""
    drawn = [
        {
            make(Draw(Random(seed), split))
            for seed in range(300)
            for make in (words.name, words.city, words.word)
        }
        for split in ("train", "held_out")
    ]
    assert not {word.lower() for word in drawn[0]} & {word.lower() for word in drawn[1]}
    assert min(map(len, drawn)) > 100


def test_a_listed_city_is_held_out() -> None:
    """Not all words of the held-out split are made up."""
    assert any(words.is_held_out_word(city.lower()) for city in words.CITIES)


def test_names_have_a_capital() -> None:
    """Names and cities do, common words do not."""
    draw = Draw(Random(0), "train")
    for _ in range(50):
        assert words.name(draw)[0].isupper()
        assert words.city(draw)[0].isupper()
        assert words.word(draw).islower()


def test_a_listing_reads_as_a_sentence() -> None:
    """Commas, and an `and` before the last."""
    assert words.listing(["a"]) == "a"
    assert words.listing(["a", "b"]) == "a and b"
    assert words.listing(["a", "b", "c"]) == "a, b and c"
