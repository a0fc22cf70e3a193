"""What does a dialect do: turn a case into a request, and what comes back into an answer?"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from serve_app.conformance.answer import Answer
from serve_app.conformance.cases import Case, Turn
from serve_app.conformance.events import Event
from serve_app.conformance.part import Malformed, Part, short
from serve_app.conformance.refusals import Form

DONE = "[DONE]"


@dataclass(frozen=True)
class Ask:
    """What a request has to say in any dialect."""

    model: str
    case: Case
    effort: str
    max_tokens: int


class Dialect(ABC):
    """One route, and how it is spoken."""

    name: ClassVar[str]
    path: ClassVar[str]
    form: ClassVar[Form] = Form.OPENAI
    is_raw: ClassVar[bool] = False
    """Whether it takes a text without a chat template: no effort, no tools, one case."""

    def headers(self, key: str | None) -> dict[str, str]:
        """What a request carries besides its body."""
        return {} if key is None else {"authorization": f"Bearer {key}"}

    @abstractmethod
    def body(self, ask: Ask, stream: bool) -> dict[str, Any]:
        """The request, at temperature 0."""

    @abstractmethod
    def whole(self, body: Part) -> Answer:
        """The answer in a body. Raises Malformed, like `streamed`, where it is not what the dialect says."""

    @abstractmethod
    def streamed(self, events: Sequence[Event]) -> Answer:
        """The answer that the events of a stream add up to."""


def conversation(ask: Ask, message: Callable[[Turn], dict[str, Any]]) -> dict[str, Any]:
    """What the body of chat and of messages begins with, each turn as `message` writes it."""
    return {
        "model": ask.model,
        "messages": [message(turn) for turn in ask.case.turns],
        "max_tokens": ask.max_tokens,
        "temperature": 0,
    }


def chunks(events: Sequence[Event], kind: str) -> tuple[list[Part], Part]:
    """The choices of a stream of chat or completions in their order, and its usage.

    Each chunk has the head of `kind`; the last one has the usage and no choice, and [DONE] follows it.
    """
    if not events or events[-1].data != DONE:
        last = short(events[-1].data) if events else "nothing"
        raise Malformed("stream", f"does not end in {DONE} but in {last}")
    parts = [Part.parsed(event.data, event.path) for event in events[:-1]]
    choices: list[Part] = []
    for part in parts:
        if error := part.get("error"):
            raise error.fault(f"an error: {error.value}")
        head(part, kind)
        if part["id"].value != parts[0]["id"].value:
            raise part["id"].fault(f"is {part['id'].value!r}, but {parts[0]['id'].value!r} before")
        choices += [only(part, "choices")] if part["choices"].items() else []
    if not parts or parts[-1]["choices"].items():
        raise Malformed("stream", "has no last chunk without choices for the usage that was asked for")
    return choices, parts[-1]["usage"]


def head(part: Part, kind: str) -> None:
    """Check what every body and chunk of chat and completions begins with."""
    part["id"].name()
    part["object"].is_one_of(kind)
    part["created"].count()
    part["model"].name()


def only(part: Part, key: str) -> Part:
    """The one item of an array, which is number 0."""
    items = part[key].items()
    if len(items) != 1 or items[0]["index"].count() != 0:
        raise part[key].fault(f"must be one, with index 0, not {len(items)}")
    return items[0]


def ending(choices: Sequence[Part], *allowed: str) -> str:
    """The finish reason of a stream's choices: the last has it, and no other."""
    for choice in choices[:-1]:
        if reason := choice.get("finish_reason"):
            raise reason.fault(f"is {reason.value!r} before the last choice")
    if not choices:
        raise Malformed("stream", "has no choices")
    return choices[-1]["finish_reason"].is_one_of(*allowed)
