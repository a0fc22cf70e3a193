"""Are the pieces those of the model's own vocabulary, and do the made-up words use them all?"""

from random import Random

from deploy.pocket.families import vocabulary, words
from deploy.pocket.families.draw import Draw


def test_pieces_are_small_letters() -> None:
    """There are many, in an order that does not change, none with a space."""
    for pieces in (vocabulary.starts(), vocabulary.parts()):
        assert len(pieces) > 1500
        assert list(pieces) == sorted(set(pieces))
        assert all(piece.isascii() and piece.isalpha() and piece.islower() for piece in pieces)
    assert "the" in vocabulary.starts()
    assert "ing" in vocabulary.parts()


def test_a_word_of_one_token_is_known() -> None:
    """Common words are one token, others are not."""
    assert vocabulary.is_one_token("paper")
    assert vocabulary.is_one_token("paris")
    assert not vocabulary.is_one_token("paperparis")


def test_training_shows_all_tokens_of_words() -> None:
    """Words that are one token are never held out, and made-up words hold all pieces sooner or later."""
    assert not any(map(words.is_held_out_word, vocabulary.starts()))
    draw = Draw(Random(0), "train")
    drawn = {words.made_up(draw) for _ in range(60_000)}
    beginnings = {word[:at] for word in drawn for at in range(1, len(word) + 1)}
    assert not set(vocabulary.starts()) - beginnings
    ends = {word[at:] for word in drawn for at in range(1, len(word))}
    assert not set(vocabulary.parts()) - ends
