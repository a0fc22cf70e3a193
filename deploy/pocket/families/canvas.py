"""How is a picture drawn: plain shapes and digits on a ground of one colour?"""

import base64
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from deploy.pocket.families.draw import Draw

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 220),
    "yellow": (240, 210, 30),
    "purple": (140, 40, 160),
    "orange": (245, 130, 20),
    "black": (15, 15, 15),
}
GROUNDS = {"white": (255, 255, 255), "grey": (190, 190, 190), "pink": (255, 190, 210)}
SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar")
CELL = 28
"""Side of the square that a shape lies in; a side of a picture is a multiple of it."""
DIGITS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
}

Figure = tuple[str, str]
"""A shape and its colour."""


def draw_figures(draw: Draw, figures: tuple[Figure, ...], ground: str) -> Image.Image:
    """The figures in their order, left to right and then down, each somewhere in a cell of its own."""
    columns, rows = draw.number(2, 4), draw.number(2, 3)
    image = Image.new("RGB", (columns * CELL, rows * CELL), GROUNDS[ground])
    brush = ImageDraw.Draw(image)
    for cell, (shape, colour) in zip(
        sorted(draw.some(range(columns * rows), len(figures))), figures, strict=True
    ):
        row, column = divmod(cell, columns)
        side = draw.number(18, 25)
        left = column * CELL + draw.number(1, CELL - side - 1)
        top = row * CELL + draw.number(1, CELL - side - 1)
        _draw_figure(brush, shape, (left, top, left + side, top + side), COLOURS[colour])
    return image


def _draw_figure(
    brush: ImageDraw.ImageDraw, shape: str, box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> None:
    left, top, right, bottom = box
    third = (right - left) // 3
    if shape == "circle":
        brush.ellipse(box, fill=colour)
    elif shape == "ring":
        brush.ellipse(box, outline=colour, width=4)
    elif shape == "square":
        brush.rectangle(box, fill=colour)
    elif shape == "triangle":
        brush.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=colour)
    elif shape == "bar":
        brush.rectangle((left, top + third, right, bottom - third), fill=colour)
    else:
        assert shape == "cross", f"no shape {shape}"
        brush.line((left, top, right, bottom), fill=colour, width=6)
        brush.line((left, bottom, right, top), fill=colour, width=6)


def draw_number(draw: Draw, number: str, colour: str, ground: str) -> Image.Image:
    """The digits of a number side by side, at a random size and place."""
    scale = draw.number(3, 4 if len(number) == 3 else 5)
    step = 6 * scale
    ink_width, ink_height = step * len(number) - scale, 7 * scale
    width = CELL * draw.number(max(2, -(-(ink_width + 2) // CELL)), 5 if len(number) == 3 else 4)
    height = CELL * draw.number(2, 3)
    pixels: npt.NDArray[np.uint8] = np.empty((height, width, 3), dtype=np.uint8)
    pixels[:] = GROUNDS[ground]
    left, top = draw.number(1, width - ink_width - 1), draw.number(1, height - ink_height - 1)
    for place, digit in enumerate(number):
        mask = np.array([[dot == "1" for dot in row] for row in DIGITS[digit].split()])
        mask = mask.repeat(scale, axis=0).repeat(scale, axis=1)
        start = left + place * step
        pixels[top : top + ink_height, start : start + 5 * scale][mask] = COLOURS[colour]
    return Image.fromarray(pixels)


def data_url(image: Image.Image) -> str:
    """The picture as a request carries it: PNG in base64."""
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
