"""What does an answer say, whichever dialect it came in, and which rules hold in all of them?"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from serve_app.conformance.part import Malformed, Part, short

Finish = Literal["stop", "length", "tool_calls"]
"""Why it ended, in the words of chat."""


@dataclass(frozen=True)
class Call:
    """One call of a tool."""

    name: str
    arguments: Any
    """As parsed JSON; the text itself in an answer that was cut off."""


@dataclass(frozen=True)
class Usage:
    """How many tokens were read and made; what came from a cache was read as well."""

    num_prompt_tokens: int
    num_answer_tokens: int


@dataclass(frozen=True)
class Answer:
    """One whole answer, or what a stream adds up to."""

    text: str
    reasoning: str
    calls: tuple[Call, ...]
    finish: Finish
    usage: Usage

    def check(self, effort: str) -> None:
        """Raise Malformed if the parts of the answer contradict each other or the effort that was asked."""
        if effort == "none" and self.reasoning:
            raise Malformed("reasoning", f"is there at effort none: {short(self.reasoning)}")
        if bool(self.calls) != (self.finish == "tool_calls") and self.finish != "length":
            raise Malformed("finish reason", f"is {self.finish} with {len(self.calls)} tool calls")
        if self.usage.num_answer_tokens == 0:
            raise Malformed("usage", "counts no token of the answer")
        if self.usage.num_prompt_tokens == 0:
            raise Malformed("usage", "counts no token of the prompt")


def openai_usage(usage: Part, prompt: str, answer: str) -> Usage:
    """The usage of one of OpenAI's dialects, where `prompt` and `answer` name what a total is the sum of."""
    found = Usage(usage[f"{prompt}_tokens"].count(), usage[f"{answer}_tokens"].count())
    added = found.num_prompt_tokens + found.num_answer_tokens
    if usage["total_tokens"].count() != added:
        raise usage["total_tokens"].fault(f"is {usage['total_tokens'].value}, but its parts make {added}")
    for kind, detail, most in (
        (prompt, "cached_tokens", found.num_prompt_tokens),
        (answer, "reasoning_tokens", found.num_answer_tokens),
    ):
        details = usage.get(f"{kind}_tokens_details")
        part = None if details is None else details.get(detail)
        if part is not None and part.count() > most:
            raise part.fault(f"is {part.value}, more than the {most} that it is a part of")
    return found


def arguments(text: Part, is_cut: bool) -> Any:
    """The parsed arguments of a call, an object; the text itself if the answer was cut off in it."""
    try:
        parsed = json.loads(text.text())
    except ValueError as error:
        if is_cut:
            return text.text()
        raise text.fault(f"is no JSON ({error}): {short(text.value)}") from None
    return Part(parsed, text.path).members()
