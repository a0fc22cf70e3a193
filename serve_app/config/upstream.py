"""What is to know of a server that is not ours, for it to be a pool?"""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from serve_app.config.base import Frozen, Positive, PositiveSeconds, one_at_least, web_address
from serve_app.types import Effort

UpstreamDialect = Literal["chat", "completions", "responses", "messages"]
Text = Annotated[str, StringConstraints(min_length=1)]

OURS = ("model", "messages", "stream")
"""What a merge may not change: Venturi reads the answer by them, or sets them itself."""


def _base_url(given: str) -> str:
    web_address(given, "https://host/v1", "the key is named by key_env or key_file")
    return given.rstrip("/")


def _mergeable(given: dict[str, Any]) -> dict[str, Any]:
    for name in OURS:
        if name in given:
            hint = "; the model's name is upstream.model" if name == "model" else ""
            raise ValueError(f"may not change {name!r}{hint}")
    return given


Patch = Annotated[dict[str, Any], AfterValidator(_mergeable)]


class Merge(Frozen):
    """What a chat request's body gets at each effort, in place of Venturi's own `reasoning_effort`.

    A JSON Merge Patch (RFC 7396): objects are merged, null takes a field away. {} sends no effort at all.
    """

    none: Patch = Field(default={"reasoning_effort": "none"})
    high: Patch = Field(default={"reasoning_effort": "high"})

    def at(self, effort: Effort) -> dict[str, Any]:
        """Return the patch of an effort."""
        return self.none if effort is Effort.NONE else self.high


class Upstream(Frozen):
    """An OpenAI-compatible server that Venturi sends requests to, and does not run."""

    url: Annotated[str, AfterValidator(_base_url)]
    """As OpenAI's clients take it: with the /v1 in it."""
    key_env: Text | None = None
    """The environment variable of the ingress replicas that has the server's key."""
    key_file: Text | None = None
    """Or the file that has it, on every node with an ingress replica. It may change. A relative path is
    relative to the project's root."""
    ca_file: Text | None = None
    """Certificates to trust in place of the usual ones, for a server with a private authority."""
    model: Text | None = None
    """The model's name there; `model.name` if not given."""
    dialects: Annotated[tuple[UpstreamDialect, ...], AfterValidator(one_at_least)] = ("chat",)
    """What the server speaks. Requests of other routes are not sent there."""
    serves: Annotated[tuple[Effort, ...], AfterValidator(one_at_least)] = tuple(Effort)
    """Efforts that it can answer at; requests of another one are not sent there."""
    merge: Merge = Merge()
    max_model_len: Positive | None = None
    """Tokens of prompt and answer together; what the server's list of models says, if not given."""
    max_ongoing_requests: Positive = 32
    """Requests that it gets at once, of all ingress replicas together."""
    connect_timeout_s: PositiveSeconds = 5.0
    silence_timeout_s: PositiveSeconds = 60.0
    """A stream that says nothing for so long is broken, also before its first token."""
    probe_period_s: PositiveSeconds = 5.0
    """How often each ingress replica asks for the list of models, to see that the server is there."""

    @field_validator("dialects", "serves")
    @classmethod
    def _each_once(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(given))

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key_env and self.key_file:
            raise ValueError(f"key_env={self.key_env!r} and key_file={self.key_file!r} exclude each other")
        return self

    @property
    def shows_its_key(self) -> bool:
        """Whether the key travels in clear over a network."""
        parts = urlsplit(self.url)
        is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        return bool(self.key_env or self.key_file) and parts.scheme == "http" and not is_here
