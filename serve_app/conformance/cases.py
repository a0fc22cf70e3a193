"""What is a model asked, and when is its answer right? Nothing here is of one dialect."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from serve_app.conformance.answer import Answer, Call
from serve_app.conformance.part import short
from serve_app.conformance.picture import red_circle


@dataclass(frozen=True)
class Said:
    """A turn of words, and of a picture before them (PNG in base64)."""

    role: Literal["user", "assistant"]
    text: str
    picture: str | None = None


@dataclass(frozen=True)
class Called:
    """A turn in which the assistant called a tool."""

    id: str
    call: Call


@dataclass(frozen=True)
class Returned:
    """A turn with what a call gave."""

    id: str
    text: str


Turn = Said | Called | Returned


@dataclass(frozen=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: dict[str, Any]


Judge = Callable[[Answer], str | None]
"""What is wrong with an answer; None if it is right."""


@dataclass(frozen=True)
class Case:
    """One conversation to go on with."""

    name: str
    turns: tuple[Turn, ...]
    judge: Judge | None
    """None if every answer is right, wherever it ends."""
    tools: tuple[Tool, ...] = ()
    schema: dict[str, Any] | None = None
    """What the answer has to fit, sent as the dialect's own demand for JSON."""

    def wrong(self, answer: Answer, effort: str) -> str | None:
        """What is wrong with an answer of the right form; None if nothing is."""
        if self.judge is None:
            return None
        if answer.finish == "length":
            return f"not ended after {answer.usage.num_answer_tokens} tokens: {short(answer.text)}"
        if effort == "high" and not answer.reasoning:
            return "no reasoning at effort high"
        return self.judge(answer)


def says(word: str) -> Judge:
    """Right is an answer in which the word occurs, in capitals or not."""

    def judge(answer: Answer) -> str | None:
        if answer.calls:
            return f"calls {short(answer.calls)} instead of saying {word!r}"
        found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer.text, re.IGNORECASE)
        return None if found else f"says {short(answer.text)}, not {word!r}"

    return judge


def calls(*wanted: Call) -> Judge:
    """Right is an answer that makes these calls, in any order, and no other."""

    def judge(answer: Answer) -> str | None:
        if sorted(map(_canonical, answer.calls)) == sorted(map(_canonical, wanted)):
            return None
        made = ", ".join(map(_canonical, answer.calls)) or short(answer.text)
        return f"answers {made} instead of {', '.join(map(_canonical, wanted))}"

    return judge


def is_json(value: Any) -> Judge:
    """Right is an answer whose text is this value in JSON, and nothing else."""

    def judge(answer: Answer) -> str | None:
        try:
            found = json.loads(answer.text)
        except ValueError:
            return f"says {short(answer.text)}, which is no JSON"
        return None if found == value else f"says {short(found)}, not {value!r}"

    return judge


def _canonical(call: Call) -> str:
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


WEATHER = Tool(
    "get_weather",
    "Weather of a city",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city"],
    },
)
TIME = Tool("get_time", "Local time of a city", _object(city={"type": "string"}))
IN_PARIS = Call("get_weather", {"city": "Paris", "unit": "celsius"})
ASK_WEATHER = "What is the weather in Paris in celsius?"
PERSON = _object(name={"type": "string"}, age={"type": "integer"})

CASES = (
    Case("plain", (Said("user", "What is 17 + 25?"),), says("42")),
    Case("tool", (Said("user", ASK_WEATHER),), calls(IN_PARIS), tools=(WEATHER,)),
    Case(
        "parallel",
        (Said("user", f"{ASK_WEATHER} Also: What time is it in Oslo?"),),
        calls(IN_PARIS, Call("get_time", {"city": "Oslo"})),
        tools=(WEATHER, TIME),
    ),
    Case(
        "result",
        (
            Said("user", ASK_WEATHER),
            Called("pA7rX2mQ9", IN_PARIS),
            Returned("pA7rX2mQ9", '{"temperature": 21}'),
        ),
        says("21"),
        tools=(WEATHER,),
    ),
    Case(
        "schema",
        (
            Said(
                "user",
                f"The name is Alice. The age is 34. Answer in JSON with this schema: {json.dumps(PERSON)}",
            ),
        ),
        is_json({"name": "Alice", "age": 34}),
        schema=PERSON,
    ),
    Case("image", (Said("user", "What colour is the circle?", red_circle()),), says("red")),
    Case(
        "turns",
        (
            Said("user", "My name is Alice."),
            Said("assistant", "Hello, Alice!"),
            Said("user", "What is my name?"),
        ),
        says("Alice"),
    ),
)
RAW = Case("raw", (Said("user", "17 + 25 ="),), None)
"""A prompt without a chat template: a model that was trained on conversations owes it nothing."""


def lengthy(num_tokens: int) -> Case:
    """A prompt of at least that many tokens: of as many words."""
    return Case("lengthy", (Said("user", "one " * num_tokens),), None)
