"""What does the policy get to know about a request?"""

from collections.abc import Mapping
from typing import Any

from serve_app.errors import InvalidRequest
from serve_app.types import Effort, RequestFeatures


def effort_of(body: Mapping[str, Any], default: Effort) -> Effort:
    """Return the effort a chat request asks for; missing and null mean `default`.

    Raises InvalidRequest (400) for any other value than those of `Effort`.
    """
    value = body.get("reasoning_effort")
    if value is None:
        return default
    if isinstance(value, str) and value in list(Effort):
        return Effort(value)
    allowed = " or ".join(repr(e.value) for e in Effort)
    raise InvalidRequest(f"reasoning_effort must be {allowed}, not {value!r}", param="reasoning_effort")


PLAIN_DECODING_FIELDS = ("allowed_token_ids", "logit_bias", "min_p")
"""What vLLM 0.29 does not honour while it speculates: the last two it refuses, the first it ignores."""


def of_chat(body: Mapping[str, Any], default_effort: Effort) -> RequestFeatures:
    """Read the features off a chat completions body. Raises InvalidRequest."""
    plain = tuple(field for field in PLAIN_DECODING_FIELDS if body.get(field))
    return RequestFeatures(effort_of(body, default_effort), plain)
