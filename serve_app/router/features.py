"""What does the policy get to know about a request?"""

from collections.abc import Mapping
from typing import Any

from serve_app.types import NO_TENANT, Effort, RequestFeatures

PLAIN_DECODING_FIELDS = ("allowed_token_ids", "logit_bias", "min_p")
"""What vLLM 0.29 does not honour while it speculates: the last two it refuses, the first it ignores."""


def of_request(
    body: Mapping[str, Any], effort: Effort, tenant: str = NO_TENANT, priority: int = 0
) -> RequestFeatures:
    """Read the features off the body of a request, in whichever dialect, of that effort and tenant."""
    plain = tuple(field for field in PLAIN_DECODING_FIELDS if body.get(field))
    return RequestFeatures(effort, plain, tenant, priority)
