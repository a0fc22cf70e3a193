"""What is a tool with its parameters and values, and which tools have sentences of their own?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.pocket.families import words
from deploy.pocket.families.draw import Draw

Value = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """One parameter; `kind` says what its values are like, and whether there are choices to take from."""

    name: str
    kind: str
    choices: tuple[str, ...] = ()
    is_optional: bool = False

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        if self.kind == "choice":
            return {"type": "string", "enum": list(self.choices)}
        return {"type": JSON_TYPES.get(self.kind, "string")}


JSON_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True)
class Tool:
    """A function to call; `sentences` name parameters in braces, optional ones with what is in [ ] around."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    sentences: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """The tool as an OpenAI request offers it."""
        required = [parameter.name for parameter in self.parameters if not parameter.is_optional]
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": {parameter.name: parameter.schema() for parameter in self.parameters},
                    "required": required,
                },
            },
        }


def _date(draw: Draw) -> str:
    return f"20{draw.number(20, 39)}-{draw.number(1, 12):02}-{draw.number(1, 28):02}"


def _code(draw: Draw) -> str:
    return draw.of("ABCDEFGHKLMNPRSTUVWXZ") + str(draw.number(10, 999))


VALUES: dict[str, Callable[[Draw], Value]] = {
    "city": words.city,
    "name": words.name,
    "word": words.word,
    "phrase": lambda draw: f"{words.word(draw)} {words.word(draw)}",
    "date": _date,
    "time": lambda draw: f"{draw.number(0, 23):02}:{draw.number(0, 59):02}",
    "code": _code,
    "mail": lambda draw: f"{words.name(draw).lower()}@{words.word(draw)}.com",
    "integer": lambda draw: draw.number(1, draw.of((9, 99, 999))),
    "number": lambda draw: draw.number(0, 99) + draw.number(1, 9) / 10,
    "boolean": lambda draw: draw.chance(0.5),
}


def value_of(draw: Draw, parameter: Parameter) -> Value:
    """A value that the parameter takes; names, cities and words are of the draw's split."""
    return draw.of(parameter.choices) if parameter.kind == "choice" else VALUES[parameter.kind](draw)


def spoken(value: Value) -> str:
    """A value as a sentence says it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tool(name: str, description: str, parameters: str, *sentences: str) -> Tool:
    """`parameters` is like `city:city unit:celsius|fahrenheit?`: kind or choices, and ? for optional ones."""
    made = []
    for text in parameters.split():
        parameter, kind = text.rstrip("?").split(":")
        choices = tuple(kind.split("|")) if "|" in kind else ()
        made.append(Parameter(parameter, "choice" if choices else kind, choices, text.endswith("?")))
    return Tool(name, description, tuple(made), sentences)


FIXED = (
    _tool(
        "get_weather",
        "Weather of a city",
        "city:city unit:celsius|fahrenheit?",
        "What is the weather in {city}[ in {unit}]?",
        "Tell me the weather in {city}[ in {unit}].",
    ),
    _tool(
        "get_time",
        "Local time of a city",
        "city:city",
        "What time is it in {city}?",
        "Tell me the time in {city}.",
    ),
    _tool(
        "send_mail",
        "Send a mail",
        "to:mail subject:phrase",
        "Send a mail to {to} about {subject}.",
        "Write to {to} with the subject {subject}.",
    ),
    _tool(
        "set_timer",
        "Start a timer",
        "minutes:integer label:word?",
        "Set a timer of {minutes} minutes[ called {label}].",
        "Start a {minutes} minute timer[ with the label {label}].",
    ),
    _tool(
        "book_table",
        "Book a table in a restaurant",
        "city:city date:date people:integer",
        "Book a table in {city} on {date} for {people} people.",
        "I want to eat in {city} on {date}, we are {people}.",
    ),
    _tool(
        "find_flight",
        "Find a flight",
        "origin:city destination:city date:date?",
        "Find a flight from {origin} to {destination}[ on {date}].",
        "I want to fly from {origin} to {destination}[ on {date}].",
    ),
    _tool(
        "play_song",
        "Play a song",
        "title:phrase volume:integer?",
        "Play the song {title}[ at volume {volume}].",
        "I want to hear {title}[ at volume {volume}].",
    ),
    _tool(
        "switch_light",
        "Switch a light",
        "room:kitchen|bedroom|hall|garden on:boolean",
        "Switch the light of the {room}: on is {on}.",
        "Set the light in the {room} to on {on}.",
    ),
    _tool(
        "add_contact",
        "Add a contact",
        "name:name phone:code",
        "Add {name} to my contacts with the phone {phone}.",
        "Save the phone {phone} of {name}.",
    ),
    _tool(
        "convert_money",
        "Convert money",
        "amount:number source:EUR|USD|GBP|JPY target:EUR|USD|GBP|JPY",
        "Convert {amount} from {source} to {target}.",
        "How much is {amount} {source} in {target}?",
    ),
    _tool(
        "search_books",
        "Search books",
        "author:name topic:word? limit:integer?",
        "Search books of {author}[ about {topic}][, at most {limit}].",
        "Find books by {author}[ on {topic}][ and show {limit}].",
    ),
    _tool(
        "set_heating",
        "Set the heating",
        "degrees:number room:kitchen|bedroom|hall|garden?",
        "Set the heating to {degrees} degrees[ in the {room}].",
        "Make it {degrees} degrees warm[ in the {room}].",
    ),
    _tool(
        "create_event",
        "Create an event",
        "title:phrase date:date time:time guests:integer?",
        "Create the event {title} on {date} at {time}[ for {guests} guests].",
        "Plan {title} for {date} at {time}[ with {guests} guests].",
    ),
    _tool(
        "order_item",
        "Order an item",
        "item:word count:integer express:boolean?",
        "Order {count} of {item}[, express {express}].",
        "Buy {count} times {item}[ with express {express}].",
    ),
    _tool(
        "track_parcel",
        "Track a parcel",
        "code:code",
        "Where is the parcel {code}?",
        "Track the parcel {code}.",
    ),
    _tool(
        "translate_word",
        "Translate a word",
        "word:word language:French|Spanish|German|Italian",
        "Translate {word} to {language}.",
        "What is {word} in {language}?",
    ),
)
"""The tools that training shows under their own names."""
