"""The picture is what the case says it is."""

import base64
from io import BytesIO

from PIL import Image

from serve_app.conformance.picture import BOX, RED, SIDE, WHITE, red_circle


def test_red_circle() -> None:
    """A PNG, white in its corners and red in the circle's middle."""
    image = Image.open(BytesIO(base64.b64decode(red_circle())))
    assert (image.format, image.size) == ("PNG", (SIDE, SIDE))
    middle = ((BOX[0] + BOX[2]) // 2, (BOX[1] + BOX[3]) // 2)
    assert image.getpixel(middle) == RED
    assert {image.getpixel(corner) for corner in ((0, 0), (SIDE - 1, 0), (BOX[0], BOX[1]))} == {WHITE}
