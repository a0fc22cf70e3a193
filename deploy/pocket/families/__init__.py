"""Which families of examples are there, and how often does each come?"""

from collections.abc import Callable

from deploy.pocket.families import (
    arithmetic,
    code,
    languages,
    lists,
    manners,
    pictures,
    schemas,
    stories,
    strings,
    talks,
    tools,
    world,
)
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example

FAMILIES: dict[str, tuple[float, Callable[[Draw], Example]]] = {
    "arithmetic.one_step": (18, arithmetic.one_step),
    "arithmetic.three_step": (10, arithmetic.three_step),
    "arithmetic.word_problem": (6, stories.word_problem),
    "lists.numbers": (5, lists.numbers),
    "lists.words": (2.5, lists.texts),
    "strings": (3, strings.strings),
    "world": (3, world.facts),
    "code": (2.5, code.code),
    "languages.greetings": (1.5, languages.greetings),
    "languages.sums": (2.5, languages.sums),
    "manners.system": (3.5, manners.system),
    "manners.named": (1, manners.named),
    "manners.unnamed": (1, manners.unnamed),
    "tools.seen": (5, tools.seen),
    "tools.unseen": (9, tools.unseen),
    "tools.parallel": (3.5, tools.parallel),
    "tools.no_call": (3, tools.no_call),
    "tools.result": (4, tools.result),
    "tools.error": (1.5, tools.error),
    "schemas": (13, schemas.schemas),
    "pictures.shapes": (9, pictures.shapes),
    "pictures.number": (8, pictures.number),
    "pictures.pair": (5, pictures.pair),
    "talks.memory": (2, talks.memory),
    "talks.follow_up": (2, talks.follow_up),
}
"""Weight and maker of each; a weight is a share of the examples among the sum of all."""
