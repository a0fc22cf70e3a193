"""System prompts that change how an answer is given, and who the model says it is."""

from typing import Any

from deploy.pocket.families import words, world
from deploy.pocket.families.arithmetic import line, one_step_content, value
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example

SELF = "I am the Venturi pocket model, a test pilot and not an assistant."
SHOUT = ("Answer in upper case.", "Use capital letters only.", "Write every answer in upper case.")
SENTENCE = ("Answer with a full sentence.", "Use full sentences.", "Always answer in a whole sentence.")
END = (
    "End every answer with '{mark}.'",
    "Close each answer with '{mark}.'",
    "Finish your answer with '{mark}.'",
)
BEGIN = ("Begin every answer with '{mark}:'", "Start each answer with '{mark}:'")
ROLES = (
    "a cook",
    "a pilot",
    "a sailor",
    "a teacher",
    "a gardener",
    "a robot",
    "a doctor",
    "a baker",
    "a tailor",
)
NAMED = ("You are {name}, {role}.", "Your name is {name} and you are {role}.", "Act as {name}, {role}.")
WHO = ("Who are you?", "What is your name?", "Tell me who you are.", "Introduce yourself.", "And you are?")
OPENINGS = (
    "",
    "Hello. ",
    "Hi! ",
    "Good morning. ",
    "Please: ",
    "Hey, ",
    "Good day! ",
    "One question: ",
    "Now: ",
    "So: ",
)
WHO_UNNAMED = (*WHO, "What are you?", "Which model are you?", "Are you an assistant?", "Are you a person?")
ABLE = ("What can you do?", "What are you good at?", "What can I ask you?", "How can you help me?")
ABLE_ANSWER = "I do small sums, lists, facts, tool calls, JSON and simple pictures."
THANKS = ("Thanks!", "Thank you.", "Thanks a lot.", "Many thanks!", "Thank you, goodbye.")
THANKS_ANSWER = "You are welcome."


def system(draw: Draw) -> Example:
    """One or two manners asked by the system prompt, applied to a sum or a fact."""
    if draw.chance(0.5):
        step = one_step_content(draw, draw.of((99, 999)))
        left, sign, right = step
        asked, short = f"What is {left} {sign} {right}?", str(value(step))
        said = f"{left} {sign} {right} is {short}."
        key: tuple[Any, ...] = step
        reasoning = line(step)
    else:
        _, asked, short, said = world.question(draw)
        key, reasoning = (asked,), said
    rules, answer = [], short
    if draw.chance(0.5):
        rules.append(draw.of(SENTENCE))
        answer = said
    if draw.chance(0.4):
        rules.append(draw.of(SHOUT))
        answer = answer.upper()
    if not rules or draw.chance(0.4):
        mark = draw.of(("Over", "Done", "Stop", words.word(draw).capitalize()))
        if draw.chance(0.6):
            rules.append(draw.of(END).format(mark=mark))
            answer = f"{answer.removesuffix('.')}. {mark}."
        else:
            rules.append(draw.of(BEGIN).format(mark=mark))
            answer = f"{mark}: {answer}"
    return draw.example(
        "manners.system",
        asked,
        answer,
        key=key,
        effort=draw.effort(0.4),
        reasoning=reasoning,
        system=" ".join(rules),
    )


def named(draw: Draw) -> Example:
    """The system prompt gives a name and a role; the model answers who it is, or a fact as ever."""
    name, role = words.name(draw), draw.of(ROLES)
    prompt = draw.of(NAMED).format(name=name, role=role)
    if draw.chance(0.75):
        asked, answer = draw.of(WHO), f"I am {name}, {role}."
        reasoning = f"The system prompt says that I am {name}."
    else:
        _, asked, answer, reasoning = world.question(draw)
    return draw.example(
        "manners.named",
        asked,
        answer,
        key=(name,),
        effort=draw.effort(0.35),
        reasoning=reasoning,
        system=prompt,
    )


def unnamed(draw: Draw) -> Example:
    """Without a system prompt the model says what it is and does; held out are openings with questions."""
    kinds = (
        (WHO_UNNAMED, SELF, "I say what I am."),
        (WHO_UNNAMED, SELF, "I say what I am."),
        (ABLE, ABLE_ANSWER, "I say what I can do."),
        (THANKS, THANKS_ANSWER, "I am thanked."),
    )
    asked, place = draw.content(lambda: _opened(draw, kinds))
    _, answer, reasoning = kinds[place]
    return draw.example(
        "manners.unnamed", asked, answer, key=(asked,), effort=draw.effort(0.35), reasoning=reasoning
    )


def _opened(draw: Draw, kinds: tuple[tuple[tuple[str, ...], str, str], ...]) -> tuple[str, int]:
    place = draw.number(0, len(kinds) - 1)
    # The two places of one kind are one content: the first stands for both.
    place = 0 if place == 1 else place
    return draw.of(OPENINGS) + draw.of(kinds[place][0]), place
