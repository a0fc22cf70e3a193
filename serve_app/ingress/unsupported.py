"""Which parts of a dialect are not served here? They are refused, since vLLM would ignore them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.errors import Unsupported
from serve_app.ingress.dialects import (
    CHAT,
    CHAT_RENDER,
    COMPLETIONS,
    COUNT_TOKENS,
    MESSAGES,
    RESPONSES,
    Body,
    Dialect,
)

NOT_STORED = "answers are not stored: replicas share no state, and an answer ends with its request"
NO_TOOLS_OF_OURS = "the server runs no tools of its own; send function tools and run them"
ONE_TIER = "every request is served alike"
UNKNOWN_VERBOSITY = "the model does not know it; say it in the prompt"


@dataclass(frozen=True)
class Refused:
    """A field that is refused unless it has a value that asks for nothing."""

    field: str
    """Dotted where it is in an object of the body."""
    why: str
    harmless: tuple[object, ...] | Callable[[Any], bool] = (None, False)

    def refuses(self, value: object) -> bool:
        """Whether `value` asks for something."""
        if callable(self.harmless):
            return value is not None and not self.harmless(value)
        return value not in self.harmless


def _of_types(*types: str | None) -> Callable[[Any], bool]:
    def harmless(tools: object) -> bool:
        return all(tool.get("type") in types for tool in _objects(tools))

    return harmless


def _keeps_all(management: object) -> bool:
    edits = management.get("edits") or () if isinstance(management, Mapping) else ()
    return isinstance(edits, Sequence) and all(
        isinstance(edit, Mapping) and edit.get("keep") == "all" for edit in edits
    )


def _is_known(include: object) -> bool:
    # Reasoning is given in clear, and is taken back so: clients that ask for it encrypted lose nothing.
    known = ("message.output_text.logprobs", "reasoning.encrypted_content")
    return not isinstance(include, list) or all(name in known for name in include)


def _is_one_function(choice: object) -> bool:
    # Of strings vLLM knows which there are.
    return not isinstance(choice, Mapping) or choice.get("type") == "function"


def _has_results_that_are_read(turns: object) -> bool:
    return all(
        part.get("type") in ("text", "image", "tool_reference", None)
        for turn in _objects(turns)
        for result in _objects(turn.get("content"))
        if result.get("type") == "tool_result"
        for part in _objects(result.get("content"))
    )


def _objects(given: object) -> list[Mapping[str, Any]]:
    # What is no list of objects is left to vLLM, which says what it should be.
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


_GUIDED = tuple(
    Refused(f"guided_{kind}", "send response_format or structured_outputs instead", (None,))
    for kind in ("json", "regex", "choice", "grammar")
)

_CHAT = (
    Refused("functions", "send tools instead"),
    Refused("function_call", "send tool_choice instead"),
    Refused("audio", "the model gives text only"),
    Refused("modalities", "the model gives text only", (None, ["text"])),
    Refused("prediction", "the engine drafts by itself"),
    Refused("web_search_options", NO_TOOLS_OF_OURS),
    Refused("store", NOT_STORED),
    Refused("service_tier", ONE_TIER, (None, "auto", "default")),
    Refused("verbosity", UNKNOWN_VERBOSITY, (None, "medium")),
    Refused("safe_prompt", "there is no safety prompt; send a system message instead"),
    *_GUIDED,
)

_MESSAGES = (
    Refused("output_format", "send output_config.format instead", (None,)),
    Refused("messages", "of a tool's result only texts and images are read", _has_results_that_are_read),
    Refused("tools", NO_TOOLS_OF_OURS, _of_types(None, "custom")),
    Refused("mcp_servers", NO_TOOLS_OF_OURS, (None, [])),
    Refused("container", NO_TOOLS_OF_OURS),
    Refused("context_management", "the whole conversation is read", _keeps_all),
    Refused("service_tier", ONE_TIER, (None, "auto", "standard_only")),
)

REFUSED: Mapping[str, tuple[Refused, ...]] = {
    CHAT.path: _CHAT,
    CHAT_RENDER.path: _CHAT,
    COMPLETIONS.path: _GUIDED,
    RESPONSES.path: (
        Refused("background", NOT_STORED),
        Refused("store", NOT_STORED),
        Refused("previous_response_id", f"{NOT_STORED}; send the earlier items in input", (None,)),
        Refused("conversation", f"{NOT_STORED}; send the earlier items in input", (None,)),
        Refused("prompt", "there are no stored prompts; send instructions and input", (None,)),
        Refused("tools", NO_TOOLS_OF_OURS, _of_types("function", "namespace")),
        Refused("tool_choice", "send auto, none, required or one function", _is_one_function),
        Refused("context_management", "the whole conversation is read", (None, [])),
        Refused("text.verbosity", UNKNOWN_VERBOSITY, (None, "medium")),
        Refused("include", f"of what it names, nothing else is here; {NO_TOOLS_OF_OURS}", _is_known),
        Refused("service_tier", ONE_TIER, (None, "auto", "default")),
    ),
    MESSAGES.path: _MESSAGES,
    COUNT_TOKENS.path: _MESSAGES,
}
"""By route."""


def check(dialect: Dialect, body: Body) -> None:
    """Raise Unsupported, naming the field, if `body` asks for what is not served in `dialect`."""
    for refused in REFUSED.get(dialect.path, ()):
        value = _at(body, refused.field)
        if refused.refuses(value):
            raise Unsupported(
                f"{refused.field}={_short(value)} is not supported: {refused.why}", param=refused.field
            )


def _at(body: Body, field: str) -> object:
    value: object = body
    for key in field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
