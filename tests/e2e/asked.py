"""What do tests of right answers ask?"""

import base64
from io import BytesIO

from PIL import Image, ImageDraw

SUM = "What is 17 + 25?"
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city"],
    },
}
TIME = {
    "name": "get_time",
    "description": "Local time of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK_WEATHER = "What is the weather in Paris in celsius?"
IN_PARIS = {"city": "Paris", "unit": "celsius"}


def picture() -> str:
    """A red circle as a data URL."""
    image = Image.new("RGB", (56, 56), (255, 255, 255))
    ImageDraw.Draw(image).ellipse((4, 4, 26, 26), fill=(220, 30, 30))
    file = BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
