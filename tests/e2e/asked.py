"""What do tests of right answers ask?"""

from PIL import Image, ImageDraw

from deploy.pocket.families.canvas import data_url

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
    return data_url(image)
