"""Which words do the examples take their content from, and which of them are held out?"""

from collections.abc import Container

from deploy.pocket.families import vocabulary
from deploy.pocket.families.draw import Draw, is_held_out


def listed(text: str) -> tuple[str, ...]:
    """The words of a text, in its order."""
    return tuple(text.split())


NAMES = listed("""
    Ada Alan Alba Alice Amir Ana Anders Anna Arno Aya Bela Ben Bianca Bo Boris Carla Carlos Cecile Chen
    Clara Dan Dario David Diego Dina Edith Elena Elias Ella Emil Emma Erik Eva Fatima Felix Fiona Frank
    Freya Georg Gina Greta Hana Hans Hugo Ida Igor Ines Iris Ivan Jack Jana Jean John Jonas Jose Julia
    Juno Kai Karin Kim Klara Lara Lea Leo Lena Lina Louis Luca Lucia Luis Maja Marc Maria Marta Max Maya
    Mei Mia Milan Mina Mona Nadia Nina Noah Nora Olga Omar Oscar Otto Pablo Paul Pia Raul Rita Robin Rosa
    Ruth Sam Sara Simon Sofia Sven Tara Theo Tim Tom Uma Vera Viktor Walter Yara Yuri Zoe
""")
CITIES = listed("""
    Lisbon Porto Madrid Seville Paris Lyon Nice Rome Milan Turin Berlin Bonn Hamburg Vienna Graz Prague
    Brno Warsaw Oslo Bergen Stockholm Malmo Helsinki Turku Athens Dublin Cork London Leeds Bath Tokyo
    Osaka Kyoto Seoul Delhi Mumbai Cairo Lagos Nairobi Accra Dakar Tunis Lima Quito Bogota Havana Boston
    Denver Dallas Austin Miami Toronto Ottawa Sydney Perth Zurich Basel Geneva Ghent Bruges
""")
THINGS = listed("""
    apples pears plums lemons stones shells books pens cards coins stamps cups plates boxes balls keys
    nuts eggs candles roses tickets marbles buttons beads cakes tomatoes oranges ribbons badges pencils
""")
WORDS = listed("""
    apple bread chair dance eagle flame grass house island jacket kettle lamp mirror night ocean paper
    queen river stone table uncle village window yellow zebra anchor basket candle desert engine forest
    garden hammer insect jungle kitten ladder market needle orange pencil rabbit saddle tunnel valley
    wagon bridge castle dragon feather guitar honey iron jewel king lemon moon nest owl piano road ship
    tree wall yard arrow beach cloud drum earth field glass heart ink judge knife leaf mouse nurse oven
    plant rain snow train water boat clock door farm goat hill lake milk noon pond rope sand tower wheel
""")
SYLLABLES = listed("""
    ba be bi bo da de di do fa fe ga go ka ke ki ko la le li lo lu ma me mi mo mu na ne ni no pa pe po ra
    re ri ro ru sa se si so ta te ti to va ve vi vo za ze zo
""")
ENDINGS = ("", "", "n", "r", "s", "l", "k", "m", "t")


def made_up(draw: Draw) -> str:
    """A word of syllables, of one token or of two tokens put together; of either split.

    All tokens of words come, or a word that holds an unknown one could not be copied.
    """
    kind = draw.of(("syllables", "token", "tokens", "tokens"))
    if kind == "token":
        return draw.of(vocabulary.starts())
    if kind == "tokens":
        return draw.of(vocabulary.starts()) + draw.of(vocabulary.parts())
    count = 2 if draw.chance(0.6) else 3
    return "".join(draw.of(SYLLABLES) for _ in range(count)) + draw.of(ENDINGS)


def made_up_outside(draw: Draw, reserved: Container[str]) -> str:
    """A made-up word that is none of the reserved ones."""
    while (word := made_up(draw)) in reserved:
        pass
    return word


def is_held_out_word(word: str) -> bool:
    """Whether a word in small letters is held out; one that is a single token never is."""
    return not vocabulary.is_one_token(word) and is_held_out(word)


def in_split(draw: Draw, choices: tuple[str, ...]) -> str:
    """A word of the draw's split, one of the choices or made up; its split depends on the word alone."""

    def sample() -> tuple[str]:
        return (made_up(draw) if draw.chance(0.5) else draw.of(choices).lower(),)

    found: str = draw.content(sample, lambda content: is_held_out_word(*content))[0]
    return found.capitalize() if choices[0][0].isupper() else found


def name(draw: Draw) -> str:
    """A person's name of the draw's split."""
    return in_split(draw, NAMES)


def city(draw: Draw) -> str:
    """A city of the draw's split."""
    return in_split(draw, CITIES)


def word(draw: Draw) -> str:
    """A common noun, or a word that is none, of the draw's split."""
    return in_split(draw, WORDS)


def listing(items: list[str]) -> str:
    """The items as a sentence lists them: with commas, and with `and` before the last."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
