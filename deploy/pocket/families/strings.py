"""Tasks on the letters of a spaced word, and on repeating a word."""

from deploy.pocket.families import words
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example

PROMPTS = {
    "first": (
        "What is the first letter of {spaced}?",
        "First letter of {spaced}?",
        "How does {spaced} begin?",
    ),
    "last": ("What is the last letter of {spaced}?", "Last letter of {spaced}?", "How does {spaced} end?"),
    "count": ("How many letters are in {spaced}?", "Count the letters: {spaced}."),
    "upper": (
        "Write {spaced} in upper case.",
        "Make these letters capitals: {spaced}",
        "Upper case: {spaced}",
    ),
    "reverse": ("Write {spaced} backwards.", "Reverse the letters {spaced}."),
    "join": ("Write {spaced} as one word.", "Join the letters {spaced}."),
    "repeat": (
        "Say {word} {count} times.",
        "Repeat the word {word} {count} times.",
        "Write {word} {count} times.",
    ),
}


def strings(draw: Draw) -> Example:
    """A task on one word of the split."""
    task = draw.of(("first", "last", "count", "upper", "reverse", "join", "repeat", "repeat"))
    word, count = words.word(draw), draw.number(2, 6)
    letters = list(word)
    spaced = " ".join(letters)
    prompt = draw.of(PROMPTS[task]).format(spaced=spaced, word=word, count=count)
    answer, reasoning = {
        "first": (letters[0], f"The letters are {', '.join(letters)}."),
        "last": (letters[-1], f"The letters are {', '.join(letters)}."),
        "count": (str(len(letters)), "\n".join(f"{place}: {one}" for place, one in enumerate(letters, 1))),
        "upper": (spaced.upper(), f"There are {len(letters)} letters."),
        "reverse": (spaced[::-1], f"The last letter is {letters[-1]}."),
        "join": (word, f"There are {len(letters)} letters."),
        "repeat": (" ".join([word] * count), f"{count} times {word}."),
    }[task]
    return draw.example("strings", prompt, answer, key=(word,), effort=draw.effort(0.4), reasoning=reasoning)
