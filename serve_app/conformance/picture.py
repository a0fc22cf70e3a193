"""What does the picture look like that is asked about?"""

import base64
from io import BytesIO

from PIL import Image, ImageDraw

SIDE = 56
WHITE, RED = (255, 255, 255), (220, 30, 30)
BOX = (31, 3, 53, 25)
"""Left, top, right, bottom."""


def red_circle() -> str:
    """A red circle on white, as PNG in base64."""
    image = Image.new("RGB", (SIDE, SIDE), WHITE)
    ImageDraw.Draw(image).ellipse(BOX, fill=RED)
    file = BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
