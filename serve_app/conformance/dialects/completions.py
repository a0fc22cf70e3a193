"""How are raw completions spoken?"""

from collections.abc import Sequence
from typing import Any, cast

from serve_app.conformance.answer import Answer, Finish, openai_usage
from serve_app.conformance.cases import Said
from serve_app.conformance.dialects.base import Ask, Dialect, chunks, ending, head, only
from serve_app.conformance.events import Event
from serve_app.conformance.part import Part

FINISHES = ("stop", "length")
MAX_TOKENS = 16
"""Enough: nothing tells the model that it should end."""


class Completions(Dialect):
    """OpenAI's completions of a text."""

    name = "completions"
    path = "/v1/completions"
    is_raw = True

    def body(self, ask: Ask, stream: bool) -> dict[str, Any]:
        """See Dialect."""
        body: dict[str, Any] = {
            "model": ask.model,
            "prompt": "\n".join(turn.text for turn in ask.case.turns if isinstance(turn, Said)),
            "max_tokens": min(ask.max_tokens, MAX_TOKENS),
            "temperature": 0,
        }
        return body | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})

    def whole(self, body: Part) -> Answer:
        """See Dialect."""
        head(body, "text_completion")
        choice = only(body, "choices")
        return _answer(choice["text"].text(), choice["finish_reason"].is_one_of(*FINISHES), body["usage"])

    def streamed(self, events: Sequence[Event]) -> Answer:
        """See Dialect."""
        choices, usage = chunks(events, "text_completion")
        finish = ending(choices, *FINISHES)
        return _answer("".join(choice["text"].text() for choice in choices), finish, usage)


def _answer(text: str, finish: str, usage: Part) -> Answer:
    return Answer(text, "", (), cast(Finish, finish), openai_usage(usage, "prompt", "completion"))
