"""Questions on pictures: which shapes and colours, how many, which number, and which of two pictures?"""

from typing import Any

from PIL import Image

from deploy.pocket.families import words
from deploy.pocket.families.canvas import (
    COLOURS,
    GROUNDS,
    SHAPES,
    Figure,
    data_url,
    draw_figures,
    draw_number,
)
from deploy.pocket.families.draw import Draw, is_held_out
from deploy.pocket.families.example import Example

WHAT = ("What is in the picture?", "What do you see?", "Describe the image.", "Which shapes are there?")
COLOUR = ("What colour is the {shape}?", "Which colour has the {shape}?", "Name the colour of the {shape}.")
SHAPE = ("Which shape is {colour}?", "What is the {colour} shape?", "Name the {colour} shape.")
COUNT = ("How many shapes are there?", "Count the shapes.", "How many shapes do you see?")
COUNT_SHAPE = ("How many {shapes} are there?", "Count the {shapes}.", "How many {shapes} do you see?")
GROUND = ("What colour is the background?", "Which colour is behind the shapes?")
NUMBER = (
    "What number is this?",
    "Read the number.",
    "Which number do you see?",
    "What number is in the picture?",
)
WHICH = ("Which image has the {what}?", "In which picture is the {what}?", "Where is the {what}?")
PLACES = ("The first.", "The second.")


def _with_article(figure: Figure) -> str:
    shape, colour = figure
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}"


def _seen(figures: tuple[Figure, ...]) -> str:
    return words.listing([_with_article(figure) for figure in figures])


def _message(draw: Draw, text: str, *images: Image.Image) -> list[dict[str, Any]]:
    pictures: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(image)}} for image in images
    ]
    asked = [{"type": "text", "text": text}]
    return [{"role": "user", "content": asked + pictures if draw.chance(0.4) else pictures + asked}]


def _figures(draw: Draw, most: int) -> tuple[Figure, ...]:
    """Figures in random order, whose combination is of the split; kinds repeat more often than by chance."""

    def sample() -> tuple[Figure, ...]:
        kinds = draw.some(SHAPES, draw.number(1, 3))
        count = draw.number(1, most)
        return tuple(sorted((draw.of(kinds), draw.of(tuple(COLOURS))) for _ in range(count)))

    figures = draw.content(sample)
    return tuple(draw.some(figures, len(figures)))


def shapes(draw: Draw) -> Example:
    """One to four shapes: what they are, how many, of which colour."""
    figures, ground = _figures(draw, 4), draw.of(tuple(GROUNDS))
    kinds, colours = [shape for shape, _ in figures], [colour for _, colour in figures]
    asked: list[tuple[str, str]] = [(draw.of(WHAT), _seen(figures)), (draw.of(COUNT), str(len(figures)))]
    counted = draw.of((kinds[0], kinds[0], draw.of(SHAPES)))
    plural = f"{counted}es" if counted.endswith("s") else f"{counted}s"
    asked.append((draw.of(COUNT_SHAPE).format(shapes=plural), str(kinds.count(counted))))
    asked.append((draw.of(GROUND), ground))
    lone = [place for place, shape in enumerate(kinds) if kinds.count(shape) == 1]
    if lone:
        place = draw.of(lone)
        asked += [(draw.of(COLOUR).format(shape=kinds[place]), colours[place])] * 2
    lone = [place for place, colour in enumerate(colours) if colours.count(colour) == 1]
    if lone:
        place = draw.of(lone)
        asked += [(draw.of(SHAPE).format(colour=colours[place]), kinds[place])] * 2
    prompt, answer = draw.of(asked)
    return draw.example(
        "pictures.shapes",
        _message(draw, prompt, draw_figures(draw, figures, ground)),
        answer,
        key=tuple(sorted(figures)),
        effort=draw.effort(0.45),
        reasoning=f"I see {_seen(figures)}.",
    )


def number(draw: Draw) -> Example:
    """A number of one to three digits to read; those of one digit are in training only."""

    def is_held_out_number(content: tuple[str]) -> bool:
        return len(content[0]) > 1 and is_held_out(*content)

    text = draw.content(lambda: (str(draw.number(0, draw.of((9, 99, 999)))),), is_held_out_number)[0]
    image = draw_number(draw, text, draw.of(tuple(COLOURS)), draw.of(tuple(GROUNDS)))
    return draw.example(
        "pictures.number",
        _message(draw, draw.of(NUMBER), image),
        text,
        key=(text,),
        effort=draw.effort(0.4),
        reasoning=f"I see the digits {', '.join(text)}.",
    )


def pair(draw: Draw) -> Example:
    """Two pictures of one or two shapes, of which one has the shape or the colour asked for."""

    def sample() -> tuple[Figure, ...]:
        shapes, colours = draw.some(SHAPES, 2), draw.some(tuple(COLOURS), 2)
        return (shapes[0], colours[0]), (shapes[1], colours[1])

    figures = draw.content(sample)
    place, by = draw.number(0, 1), draw.of((0, 1))
    what = figures[place][by] if by == 0 else f"{figures[place][by]} shape"
    images = [draw_figures(draw, (figure,), draw.of(tuple(GROUNDS))) for figure in figures]
    return draw.example(
        "pictures.pair",
        _message(draw, draw.of(WHICH).format(what=what), *images),
        PLACES[place],
        key=figures,
        effort=draw.effort(0.45),
        reasoning=f"First {_with_article(figures[0])}, then {_with_article(figures[1])}.",
    )
