"""How long does the client wait for its answer, as far as it says?

Two headers tell, and nobody has to think of them: OpenAI's and Anthropic's clients send their read timeout,
in seconds, and Envoy the time that it gives a whole answer, in milliseconds (0: any). A read timeout passes
when nothing comes for so long: of a streamed answer that is the time to its first token, else to its end.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from serve_app.errors import InvalidRequest

READ_TIMEOUT_HEADER = "x-stainless-read-timeout"
WHOLE_TIMEOUT_HEADER = "x-envoy-expected-rq-timeout-ms"


class Deadlines(NamedTuple):
    """When the answer must have begun, and when it must be complete."""

    first_token_s: float | None
    whole_s: float


def deadlines(headers: Mapping[str, str], is_stream: bool, now_s: float, longest_s: float) -> Deadlines:
    """Return the deadlines of a request that came at `now_s` and may take `longest_s` whatever it says.

    Raises InvalidRequest for a header that is not a time.
    """
    whole_s = min(longest_s, _seconds(headers, WHOLE_TIMEOUT_HEADER, per_s=1000) or math.inf)
    read_s = _seconds(headers, READ_TIMEOUT_HEADER, per_s=1)
    if read_s is None:
        return Deadlines(None, now_s + whole_s)
    if is_stream:
        return Deadlines(now_s + min(read_s, whole_s), now_s + whole_s)
    return Deadlines(None, now_s + min(read_s, whole_s))


def _seconds(headers: Mapping[str, str], name: str, per_s: int) -> float | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise InvalidRequest(f"header {name} must be a number of at least 0, not {text!r}", param=name)
    return value / per_s
