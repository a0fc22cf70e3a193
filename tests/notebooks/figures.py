"""Do two pictures show the same? Their data and words, not their bytes."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from parallel.placement.maps import Floats

TOLERANCE_PT = 0.5
"""How far apart points of two drawings may lie: arithmetic differs by the machine, and much less."""


def differences(one: Path, other: Path) -> Iterator[str]:
    """Yield what differs between two SVG or PNG files of the same name."""
    if one.suffix == ".png":
        pixels, others = (np.asarray(Image.open(path).convert("RGB"), dtype=float) for path in (one, other))
        if pixels.shape != others.shape:
            yield f"size: {pixels.shape} and {others.shape}"
        elif np.abs(pixels - others).mean() > 1:
            yield f"pixels: {np.abs(pixels - others).mean():.1f} of 255 apart on average"
        return
    words, drawn = _read(one)
    other_words, other_drawn = _read(other)
    if words != other_words:
        yield f"words: {set(words) ^ set(other_words) or 'their order'}"
    if drawn.shape != other_drawn.shape:
        yield f"points: {len(drawn)} and {len(other_drawn)} numbers"
    elif (apart := np.abs(drawn - other_drawn).max()) > TOLERANCE_PT:
        yield f"points: up to {apart:.1f} apart"


def _read(path: Path) -> tuple[list[str], Floats]:
    """Return an SVG's texts, and the numbers of its paths and places."""
    words: list[str] = []
    numbers: list[float] = []
    for element in ET.parse(path).iter():
        if element.tag.endswith("}text"):
            words.append("".join(element.itertext()))
        for name in ("d", "x", "y"):
            numbers += map(float, re.findall(r"-?\d+(?:\.\d+)?", element.get(name, "")))
    return words, np.array(numbers)
