"""What does a body ask for? Its dialect, its one effort, and itself in the words of vLLM's route.

For whoever must read a body as the ingress does, before it fetches images and fills in defaults.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from serve_app.config import Ingress, Model
from serve_app.errors import InvalidRequest
from serve_app.ingress import effort, synonyms, unsupported
from serve_app.ingress.dialects import Dialect
from serve_app.types import Effort


class Asked(NamedTuple):
    """One body, understood."""

    dialect: Dialect
    effort: Effort
    said: Mapping[str, Any]
    """The body as vLLM's route reads it; the one that came, where nothing had to change."""


def understood(
    dialect: Dialect, parsed: Mapping[str, Any], header: str | None, limits: Ingress, model: Model
) -> Asked:
    """Read a parsed body; `header` is its `x-reasoning-effort`. Raises ApiError for what is refused."""
    dialect = dialect.of(parsed)
    if not isinstance(stream := parsed.get("stream"), bool | None):
        # vLLM would take 1 and "yes" for true: a stream that nobody here knows to be one.
        raise InvalidRequest(f"stream must be true or false, not {stream!r:.80}", param="stream")
    options = parsed.get("stream_options")
    asks = options.get("include_usage") if isinstance(options, Mapping) else None
    if not isinstance(asks, bool | None):
        # So would it read "no" as false, and send no figures.
        raise InvalidRequest(
            f"stream_options.include_usage must be true or false, not {asks!r:.80}",
            param="stream_options.include_usage",
        )
    unsupported.check(dialect, parsed)
    names = limits.efforts.of(dialect.name)
    applied = effort.applied(dialect, parsed, header, names, model.default_effort)
    return Asked(dialect, applied, synonyms.translated(dialect, effort.written(dialect, parsed, applied)))
