"""Which dialects do clients speak, and where does each one keep what we look at?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from serve_app.ingress.shapes import Shape

Body = Mapping[str, Any]
Place = tuple[str, ...]
"""The keys from a body's root to one of its values."""

TEMPLATE_EFFORT: Place = ("chat_template_kwargs", "reasoning_effort")


@dataclass(frozen=True)
class Dialect:
    """One route of vLLM's, as far as the ingress reads and completes its requests."""

    path: str
    name: Literal["chat", "responses", "messages"] = "chat"
    """Under which key of `ingress.efforts` its names for efforts are."""
    shape: Shape = Shape.OPENAI
    effort_at: Place | None = None
    """Where vLLM's route reads the effort; None if the model cannot be told."""
    says_none: bool = True
    """Whether `none` may stand there; else leaving it out means none."""
    efforts_from: tuple[Place, ...] = (("reasoning_effort",), TEMPLATE_EFFORT)
    """Where clients say it, beside the header."""
    effort_words_at: Place | None = None
    """Where they say it in other words than names of efforts (`effort.WORDS`)."""
    conversation: Literal["messages", "input"] | None = None
    """Where the turns are."""
    system_at: Literal["messages", "instructions", "system"] | None = None
    """Where a system prompt goes: a field of its own, or the first of the messages."""
    generates: bool = True
    """Whether the model samples, so that sampling defaults mean something."""
    raw: "Dialect | None" = None
    """What a body without messages is, where one route takes both."""

    def of(self, body: Body) -> "Dialect":
        """Return the dialect of `body`, which came to this one's path."""
        return self.raw if self.raw and "messages" not in body else self


CHAT = Dialect(
    "/v1/chat/completions",
    effort_at=("reasoning_effort",),
    effort_words_at=("prompt_mode",),
    conversation="messages",
    system_at="messages",
)
CHAT_RENDER = replace(CHAT, path="/v1/chat/completions/render")
COMPLETIONS = Dialect("/v1/completions")
RESPONSES = Dialect(
    "/v1/responses",
    name="responses",
    shape=Shape.RESPONSES,
    effort_at=("reasoning", "effort"),
    efforts_from=(("reasoning", "effort"), TEMPLATE_EFFORT),
    conversation="input",
    system_at="instructions",
)
MESSAGES = Dialect(
    "/v1/messages",
    name="messages",
    shape=Shape.ANTHROPIC,
    effort_at=("output_config", "effort"),
    says_none=False,
    efforts_from=(("output_config", "effort"), TEMPLATE_EFFORT),
    effort_words_at=("thinking", "type"),
    conversation="messages",
    system_at="system",
)
COUNT_TOKENS = replace(MESSAGES, path="/v1/messages/count_tokens", generates=False)
TOKENIZE = Dialect(
    "/tokenize",
    effort_at=TEMPLATE_EFFORT,
    conversation="messages",
    system_at="messages",
    generates=False,
    raw=Dialect("/tokenize", generates=False),
)
DETOKENIZE = Dialect("/detokenize", generates=False)

DIALECTS = (CHAT, CHAT_RENDER, COMPLETIONS, RESPONSES, MESSAGES, COUNT_TOKENS, TOKENIZE, DETOKENIZE)
