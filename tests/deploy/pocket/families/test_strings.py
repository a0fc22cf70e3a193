"""Are letters found and words repeated rightly?"""

from itertools import islice

from deploy.pocket.data import examples


def test_answers_follow_from_the_word() -> None:
    """The answer is one of what can be asked of the word."""
    for example in islice(examples(3, "train", ["strings"]), 200):
        (word,) = example.key
        spaced = " ".join(word)
        possible = {word[0], word[-1], str(len(word)), spaced.upper(), spaced[::-1], word}
        possible |= {" ".join([word] * count) for count in range(2, 7)}
        assert example.content in possible
