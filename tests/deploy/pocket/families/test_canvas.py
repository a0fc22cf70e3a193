"""Is what is drawn on the picture, whole and in its colour?"""

from random import Random

import numpy as np
import pytest

from deploy.pocket.families.canvas import COLOURS, DIGITS, GROUNDS, SHAPES, draw_figures, draw_number
from deploy.pocket.families.draw import Draw


@pytest.mark.parametrize("shape", SHAPES)
def test_figures_are_drawn_in_their_colours(shape: str) -> None:
    """Ground and both colours are there, nothing else, and the first figure is before the second."""
    for seed in range(20):
        draw = Draw(Random(seed), "train")
        pixels = np.array(draw_figures(draw, ((shape, "red"), (shape, "blue")), "white"))
        found = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
        assert found == {COLOURS["red"], COLOURS["blue"], GROUNDS["white"]}
        cells = [
            np.argwhere((pixels == COLOURS[colour]).all(axis=2)).mean(axis=0) // 28
            for colour in ("red", "blue")
        ]
        assert tuple(cells[0]) < tuple(cells[1])


@pytest.mark.parametrize("number", ["7", "42", "908"])
def test_numbers_keep_all_their_dots(number: str) -> None:
    """The ink is as many dots as the digits have, times the area of a dot."""
    dots = sum(DIGITS[digit].count("1") for digit in number)
    for seed in range(20):
        pixels = np.array(draw_number(Draw(Random(seed), "train"), number, "black", "grey"))
        ink = int((pixels == COLOURS["black"]).all(axis=2).sum())
        assert ink in {dots * side**2 for side in (3, 4, 5)}


def test_digits_differ() -> None:
    """No two digits share their dots."""
    assert len(set(DIGITS.values())) == 10
