"""What does the HTTP edge take, and how much of it at once?"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from serve_app.config.access import Auth
from serve_app.config.base import Frozen, Positive, PositiveSeconds
from serve_app.config.images import ImagePolicy
from serve_app.types import Effort

STRICT_EFFORTS = {effort.value: effort for effort in Effort}
MAPPED_EFFORTS = {
    "none": Effort.NONE,
    "minimal": Effort.NONE,
    "low": Effort.NONE,
    "medium": Effort.HIGH,
    "high": Effort.HIGH,
    "xhigh": Effort.HIGH,
    "max": Effort.HIGH,
}
"""What the names that OpenAI's and Anthropic's clients know mean to a model with two efforts."""


def _keeps_its_own(names: Any) -> Any:
    if isinstance(names, dict):
        for own in Effort:
            if names.get(own.value, own) != own:
                raise ValueError(f"{own.value!r} means itself, not {names[own.value]!r}")
    return names


EffortTable = Annotated[
    Literal["strict", "mapped"] | dict[str, Effort],
    AfterValidator(_keeps_its_own),
]


class EffortNames(Frozen):
    """Which names for efforts a dialect's requests may use.

    `strict`: none and high; `mapped`: MAPPED_EFFORTS; or a mapping of further names to none or high.
    """

    chat: EffortTable = "strict"
    """Also of completions and tokenize."""
    responses: EffortTable = "mapped"
    messages: EffortTable = "mapped"

    def of(self, dialect: Literal["chat", "responses", "messages"]) -> Mapping[str, Effort]:
        """Return what each name means in `dialect`."""
        table: str | dict[str, Effort] = getattr(self, dialect)
        if isinstance(table, dict):
            return STRICT_EFFORTS | table
        return STRICT_EFFORTS if table == "strict" else MAPPED_EFFORTS


def _as_browsers_send_it(given: str) -> str:
    is_one = re.fullmatch(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?", given)
    has_usual_port = re.fullmatch(r"http://.*:80|https://.*:443", given)
    if given != "*" and (not is_one or has_usual_port):
        raise ValueError(
            f"must be '*', or as browsers send it, such as https://chat.example.com or http://localhost:3000 "
            f"(in lower case, no path, no :80 or :443), not {given!r}"
        )
    return given


Origin = Annotated[str, AfterValidator(_as_browsers_send_it)]


class Ingress(Frozen):
    """The HTTP edge."""

    replicas: Positive = 1
    num_cpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """CPUs that Ray reserves for each ingress replica."""
    max_ongoing_requests: Positive = 1024
    """Requests that one ingress replica holds at once, streams included."""
    max_body_bytes: Positive = 32 * 2**20
    max_header_bytes: Positive = 32 * 2**10
    """Bytes of all header names and values together."""
    max_headers: Positive = 100
    auth: Auth = Auth()
    allowed_origins: tuple[Origin, ...] = ()
    """Sites whose pages may use the API from a browser; '*' for all. The console needs none."""
    request_timeout_s: PositiveSeconds = 1800.0
    """The longest time an answer may take, from the request's arrival to its last byte."""
    efforts: EffortNames = EffortNames()
    """What clients may call an effort, by dialect."""
    images: ImagePolicy = ImagePolicy()
