"""Conversations of two or three turns: something told earlier is asked, or a sum goes on."""

from typing import Any

from deploy.pocket.families import words, world
from deploy.pocket.families.arithmetic import Step, line, step_is_held_out, value
from deploy.pocket.families.draw import Draw
from deploy.pocket.families.example import Example

Turn = tuple[str, str, str]
"""What is asked, what is answered, what is thought."""

MEMORIES = (
    (
        "name",
        ("My name is {it}.", "I am {it}.", "Call me {it}."),
        "Hello, {it}!",
        ("What is my name?", "Who am I?", "Do you know my name?"),
        "Your name is {it}.",
    ),
    (
        "number",
        ("Remember the number {it}.", "My number is {it}.", "Keep the number {it} in mind."),
        "I remember {it}.",
        ("Which number was it?", "What was the number?", "Tell me the number again."),
        "The number is {it}.",
    ),
    (
        "city",
        ("I live in {it}.", "My city is {it}.", "I come from {it}."),
        "{it} is a good place.",
        ("Where do I live?", "What is my city?", "Which city did I tell you?"),
        "Your city is {it}.",
    ),
    (
        "word",
        ("The password is {it}.", "Remember the word {it}.", "The secret word is {it}."),
        "I remember {it}.",
        ("What is the password?", "Which word was it?", "Tell me the word again."),
        "The word is {it}.",
    ),
)
MORE = {
    "+": ("And plus {b}?", "Now add {b}.", "Plus {b}?"),
    "-": ("And minus {b}?", "Now subtract {b}.", "Minus {b}?"),
    "*": ("And times {b}?", "Now multiply by {b}.", "Times {b}?"),
}


def memory(draw: Draw) -> Example:
    """A name, number, city or word is told and later asked, with another question between or not."""
    kind, told, heard, asked, answer = draw.of(MEMORIES)
    if kind == "number":
        it = draw.content(lambda: (str(draw.number(10, 999)),))[0]
    else:
        it = {"name": words.name, "city": words.city, "word": words.word}[kind](draw)
    turns = [(draw.of(told).format(it=it), heard.format(it=it), f"The {kind} is {it}.")]
    if draw.chance(0.5):
        _, between, short, said = world.question(draw)
        turns.append((between, short, said))
    return _example(
        draw,
        "talks.memory",
        turns,
        (draw.of(asked), answer.format(it=it), f"The {kind} was {it}."),
        key=(kind, it),
    )


def follow_up(draw: Draw) -> Example:
    """A sum, and one or two more steps from its result."""
    steps = draw.content(lambda: _any_steps(draw), lambda found: any(map(step_is_held_out, found)))
    left, sign, right = steps[0]
    asked = [draw.of(("What is {a} {sign} {b}?", "{a} {sign} {b}?")).format(a=left, sign=sign, b=right)]
    asked += [draw.of(MORE[sign]).format(b=right) for _, sign, right in steps[1:]]
    turns = [(question, str(value(step)), line(step)) for question, step in zip(asked, steps, strict=True)]
    return _example(draw, "talks.follow_up", turns[:-1], turns[-1], key=steps)


def _any_steps(draw: Draw) -> tuple[Step, ...]:
    while True:
        steps: list[Step] = []
        result = draw.number(2, 99)
        for _ in range(draw.number(2, 3)):
            sign = draw.of("++--*")
            steps.append((result, sign, draw.number(2, 9) if sign == "*" else draw.number(2, 99)))
            result = value(steps[-1])
        if all(0 <= value(step) < 1000 for step in steps):
            return tuple(steps)


def _example(draw: Draw, family: str, turns: list[Turn], last: Turn, key: tuple[Any, ...]) -> Example:
    """Earlier thoughts are kept in some histories at effort high, as a field or as a chunk of the content."""
    effort = draw.effort(0.45)
    kept = draw.of(("no", "no", "field", "chunk")) if effort == "high" else "no"
    messages: list[dict[str, Any]] = []
    for asked, answer, thought in turns:
        messages.append({"role": "user", "content": asked})
        if kept == "field":
            messages.append({"role": "assistant", "reasoning": thought, "content": answer})
        elif kept == "chunk":
            thinking = {"type": "thinking", "thinking": thought, "closed": True}
            messages.append({"role": "assistant", "content": [thinking, {"type": "text", "text": answer}]})
        else:
            messages.append({"role": "assistant", "content": answer})
    asked, answer, thought = last
    messages.append({"role": "user", "content": asked})
    return draw.example(family, messages, answer, key=key, effort=effort, reasoning=thought)
