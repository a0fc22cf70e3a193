"""A small world of facts: capitals, colours, animals, opposites; asked forwards and backwards."""

from dataclasses import dataclass

from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example


@dataclass(frozen=True)
class Relation:
    """Facts of one kind, and how they are asked and said; `backwards` is empty where an answer fits many."""

    facts: dict[str, str]
    forwards: tuple[str, ...]
    backwards: tuple[str, ...]
    said: str


def _facts(text: str) -> dict[str, str]:
    pairs = [pair.strip().split(":") for pair in text.split(",")]
    return {left.strip(): right.strip() for left, right in pairs}


RELATIONS = {
    "capital": Relation(
        _facts("""
            France: Paris, Spain: Madrid, Portugal: Lisbon, Italy: Rome, Germany: Berlin, Austria: Vienna,
            Poland: Warsaw, Norway: Oslo, Sweden: Stockholm, Finland: Helsinki, Denmark: Copenhagen, Greece:
            Athens, Ireland: Dublin, England: London, Belgium: Brussels, Hungary: Budapest, Romania:
            Bucharest, Bulgaria: Sofia, Croatia: Zagreb, Serbia: Belgrade, Ukraine: Kyiv, Turkey: Ankara,
            Egypt: Cairo, Kenya: Nairobi, Ghana: Accra, Senegal: Dakar, Morocco: Rabat, Japan: Tokyo, China:
            Beijing, India: Delhi, Iran: Tehran, Iraq: Baghdad, Thailand: Bangkok, Vietnam: Hanoi, Canada:
            Ottawa, Cuba: Havana, Peru: Lima, Chile: Santiago, Ecuador: Quito, Colombia: Bogota, Australia:
            Canberra"""),
        (
            "What is the capital of {a}?",
            "Capital of {a}?",
            "Name the capital of {a}.",
            "Which city is the capital of {a}?",
            "Tell me the capital of {a}.",
        ),
        (
            "{b} is the capital of which country?",
            "Which country has the capital {b}?",
            "Whose capital is {b}?",
        ),
        "The capital of {a} is {b}.",
    ),
    "colour": Relation(
        _facts("""
            grass: green, blood: red, snow: white, coal: black, the sky: blue, a lemon: yellow, a carrot:
            orange, a banana: yellow, milk: white, an emerald: green, a ruby: red, a raven: black,
            chocolate: brown, an elephant: grey, a flamingo: pink, a plum: purple, a frog: green, a swan:
            white, the sea: blue, a tomato: red, salt: white, a pumpkin: orange, the sun: yellow, a bear:
            brown, a mouse: grey"""),
        (
            "What colour is {a}?",
            "What is the colour of {a}?",
            "Which colour has {a}?",
            "Tell me the colour of {a}.",
            "Name the colour of {a}.",
        ),
        (),
        "The colour of {a} is {b}.",
    ),
    "sound": Relation(
        _facts("""
            cow: moo, dog: woof, cat: meow, sheep: baa, duck: quack, pig: oink, bee: buzz, lion: roar,
            owl: hoot, snake: hiss, frog: croak, crow: caw, mouse: squeak, horse: neigh, wolf: howl,
            bird: tweet"""),
        (
            "What does the {a} say?",
            "What sound does a {a} make?",
            "Which sound comes from a {a}?",
            "How does a {a} sound?",
        ),
        ("Which animal says {b}?", "Who says {b}?", "What animal makes the sound {b}?"),
        "The {a} says {b}.",
    ),
    "legs": Relation(
        _facts("""
            dog: 4, cat: 4, spider: 8, bird: 2, ant: 6, bee: 6, snake: 0, fish: 0, horse: 4, hen: 2, crab:
            10, frog: 4, fly: 6, cow: 4, duck: 2, beetle: 6, worm: 0, lion: 4"""),
        (
            "How many legs has a {a}?",
            "How many legs does a {a} have?",
            "On how many legs does a {a} walk?",
            "Number of legs of a {a}?",
        ),
        (),
        "The {a} has {b} legs.",
    ),
    "opposite": Relation(
        _facts("""
            hot: cold, big: small, high: low, fast: slow, light: dark, wet: dry, full: empty, old: young,
            hard: soft, early: late, open: closed, left: right, up: down, in: out, rich: poor, strong: weak,
            long: short, happy: sad, good: bad, near: far, loud: quiet, clean: dirty, day: night, first:
            last, yes: no, above: below, thick: thin, true: false, north: south, east: west, win: lose,
            push: pull, buy: sell, start: stop, give: take"""),
        ("What is the opposite of {a}?", "Opposite of {a}?", "Name the opposite of {a}.", "What is not {a}?"),
        ("What is the opposite of {b}?", "Opposite of {b}?", "Name the opposite of {b}.", "What is not {b}?"),
        "The opposite of {a} is {b}.",
    ),
    "home": Relation(
        _facts("""
            baker: bakery, teacher: school, doctor: hospital, farmer: farm, judge: court, sailor: ship,
            pilot: plane, cook: kitchen, actor: theatre, miner: mine, monk: temple, singer: stage, banker:
            bank, gardener: garden, librarian: library"""),
        ("Where does a {a} work?", "Where do I find a {a} at work?", "Name the place where a {a} works."),
        ("Who works in a {b}?", "Who has a {b} as the place of work?"),
        "The {a} works in a {b}.",
    ),
}
Asked = tuple[str, str, str, str]
"""The kind of fact, the question, the short answer, the answer as a sentence."""


def question(draw: Draw) -> Asked:
    """A question on a fact; held out is the combination of phrasing and fact."""
    kind, phrasing, known = draw.content(lambda: _any(draw))
    relation = RELATIONS[kind]
    sides = {"a": known, "b": relation.facts[known]}
    answer = sides["b"] if "{a}" in phrasing else sides["a"]
    said = relation.said.format(**sides)
    return kind, phrasing.format(**sides), answer, said


def _any(draw: Draw) -> tuple[str, str, str]:
    kind = draw.of(("capital", "capital", *RELATIONS))
    relation = RELATIONS[kind]
    phrasings = relation.backwards if relation.backwards and draw.chance(0.4) else relation.forwards
    return kind, draw.of(phrasings), draw.of(tuple(relation.facts))


def facts(draw: Draw) -> Example:
    """A question on a fact, answered in a word or two."""
    _, asked, answer, said = question(draw)
    return draw.example("world", asked, answer, key=(asked,), effort=draw.effort(0.35), reasoning=said)
