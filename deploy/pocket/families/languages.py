"""Greetings and sums in English, French, Spanish, German and Italian, answered in the language asked."""

from dataclasses import dataclass

from deploy.pocket.families import words
from deploy.pocket.families.arithmetic import Step, line, one_step_content, value
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example


@dataclass(frozen=True)
class Language:
    """How people greet and reckon; `verbs` are for + - *, `greetings` pair what is said and answered."""

    english: str
    greetings: tuple[tuple[str, str], ...]
    sums: tuple[str, ...]
    verbs: tuple[str, str, str]
    result: str
    hello: str


LANGUAGES = (
    Language(
        "English",
        (
            ("Hello, I am {name}.", "Hello, {name}! Nice to meet you."),
            ("Good morning from {name}!", "Good morning, {name}!"),
            ("Good evening, my name is {name}.", "Good evening, {name}!"),
        ),
        ("How much is {sum}? Answer with a sentence.", "What does {sum} make?"),
        ("plus", "minus", "times"),
        "{sum} is {result}.",
        "Hello, {name}!",
    ),
    Language(
        "French",
        (
            ("Bonjour, je suis {name}.", "Bonjour, {name} ! Enchanté."),
            ("Bonsoir, je m'appelle {name}.", "Bonsoir, {name} !"),
            ("Salut, c'est {name} !", "Salut, {name} !"),
        ),
        ("Combien font {sum} ?", "Calcule {sum}.", "{sum}, ça fait combien ?"),
        ("plus", "moins", "fois"),
        "{sum} font {result}.",
        "Bonjour, {name} !",
    ),
    Language(
        "Spanish",
        (
            ("Hola, soy {name}.", "¡Hola, {name}! Mucho gusto."),
            ("Buenos días, me llamo {name}.", "¡Buenos días, {name}!"),
            ("Buenas noches, soy {name}.", "¡Buenas noches, {name}!"),
        ),
        ("¿Cuánto es {sum}?", "Calcula {sum}.", "¿Cuántos son {sum}?"),
        ("más", "menos", "por"),
        "{sum} son {result}.",
        "¡Hola, {name}!",
    ),
    Language(
        "German",
        (
            ("Hallo, ich bin {name}.", "Hallo, {name}! Freut mich."),
            ("Guten Morgen, ich heiße {name}.", "Guten Morgen, {name}!"),
            ("Guten Abend, hier ist {name}.", "Guten Abend, {name}!"),
        ),
        ("Was ist {sum}?", "Wie viel ist {sum}?", "Berechne {sum}."),
        ("plus", "minus", "mal"),
        "{sum} ist {result}.",
        "Hallo, {name}!",
    ),
    Language(
        "Italian",
        (
            ("Ciao, sono {name}.", "Ciao, {name}! Piacere."),
            ("Buongiorno, mi chiamo {name}.", "Buongiorno, {name}!"),
            ("Buonasera, sono {name}.", "Buonasera, {name}!"),
        ),
        ("Quanto fa {sum}?", "Calcola {sum}.", "Quanto è {sum}?"),
        ("più", "meno", "per"),
        "{sum} fa {result}.",
        "Ciao, {name}!",
    ),
)
GREET = (
    "Greet {name} in {language}.",
    "Say hello to {name} in {language}.",
    "Write a {language} greeting for {name}.",
)


def greetings(draw: Draw) -> Example:
    """Someone greets and says a name, or asks for a greeting in a language."""
    language, name = draw.of(LANGUAGES), words.name(draw)
    if draw.chance(0.3):
        prompt, answer = draw.of(GREET).format(name=name, language=language.english), language.hello
    else:
        said, answer = draw.of(language.greetings)
        prompt = said.format(name=name)
    return draw.example(
        "languages.greetings",
        prompt,
        answer.format(name=name),
        key=(name,),
        effort=draw.effort(0.35),
        reasoning=f"{name} is greeted in {language.english}.",
    )


def sums(draw: Draw) -> Example:
    """A sum asked in words, answered with a sentence."""
    language = draw.of(LANGUAGES)
    left, sign, right = step = _step(draw)
    verb = language.verbs["+-*".index(sign)]
    told = f"{left} {verb} {right}"
    return draw.example(
        "languages.sums",
        draw.of(language.sums).format(sum=told),
        language.result.format(sum=told, result=value(step)),
        key=step,
        effort=draw.effort(0.4),
        reasoning=line(step),
    )


def _step(draw: Draw) -> Step:
    while True:
        step = one_step_content(draw, 99 if draw.chance(0.7) else 999)
        if step[1] != "/":
            return step
