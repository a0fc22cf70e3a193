"""What is one example: a request as a client sends it, the right answer, and how an answer is judged?"""

import json
from dataclasses import dataclass
from typing import Any, Literal

Split = Literal["train", "held_out"]
Effort = Literal["none", "high"]


@dataclass(frozen=True)
class ToolCall:
    """One call that the right answer makes."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Example:
    """One request and its right answer.

    `request` is a body for OpenAI's chat completions without the model's name. At effort high `reasoning` is
    not empty; at none it is None. `key` is the content by which the splits differ: a key of one split never
    occurs in the other. With `is_json` the content is compared as parsed values instead of as text.
    """

    family: str
    request: dict[str, Any]
    content: str | None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    key: tuple[Any, ...] = ()
    is_json: bool = False

    @property
    def effort(self) -> Effort:
        """The effort that the request asks for; a request that names none gets none."""
        return "high" if self.request.get("reasoning_effort") == "high" else "none"

    def is_right(self, message: dict[str, Any]) -> bool:
        """Whether the message of an answer is right; its reasoning is not judged."""
        calls = [_parsed_call(call) for call in message.get("tool_calls") or ()]
        if self.tool_calls:
            return calls == [(call.name, _canonical(call.arguments)) for call in self.tool_calls]
        content = message.get("content")
        if calls or not isinstance(content, str) or self.content is None:
            return False
        if self.is_json:
            parsed = _parsed(content)
            return parsed is not None and parsed == _parsed(self.content)
        return content.strip() == self.content.strip()


def _parsed_call(call: dict[str, Any]) -> tuple[str, str | None]:
    function = call["function"]
    return function["name"], _parsed(function["arguments"])


def _parsed(text: str) -> str | None:
    """JSON in canonical form, so that 1, 1.0 and true differ; None where the text is no JSON."""
    try:
        return _canonical(json.loads(text))
    except json.JSONDecodeError:
        return None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
