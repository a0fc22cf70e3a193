"""Which images may requests have, and from where?"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from serve_app.config.base import Frozen, Positive, PositiveSeconds, one_at_least

Port = Annotated[int, Field(ge=1, le=65535, strict=True)]


def _host_pattern(pattern: str) -> str:
    if not re.fullmatch(r"(\*\.)?([a-z0-9_-]+\.)*[a-z0-9_-]+", pattern):
        raise ValueError(f"must be a name, or *. and a name, in lower case, not {pattern!r}")
    return pattern


HostPattern = Annotated[str, AfterValidator(_host_pattern)]


class ImagePolicy(Frozen):
    """Which images requests may have. The ingress fetches what is named by URL; the engines fetch nothing."""

    https: Literal["public", False] = "public"
    """Whether images are fetched by https, and from where: hosts that have public addresses only, or none."""
    data: bool = True
    """Whether a request may bring images along, as data URLs or base64."""
    hosts: Annotated[tuple[HostPattern, ...], AfterValidator(one_at_least)] | None = None
    """The hosts to fetch from: full names, or `*.example.com` for every name below one. Any, if not given."""
    ports: Annotated[tuple[Port, ...], AfterValidator(one_at_least)] = (443,)
    max_count: Positive = 16
    """Images a request."""
    max_bytes: Positive = 16 * 2**20
    """Bytes an image, before base64."""
    max_total_bytes: Positive = 24 * 2**20
    """Bytes of all images of a request. They grow by a third on their way to the engine."""
    max_pixels: Positive = 32 * 2**20
    """Width times height, as the header says: what decoding an image costs the engine, times 3 or 4 bytes."""
    max_redirects: Annotated[int, Field(ge=0, le=10, strict=True)] = 3
    """Redirects an image; each of them has to keep every rule again."""
    timeout_s: PositiveSeconds = 10.0
    """The time to fetch all images of a request."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """The URL schemes that are allowed."""
        return ("data",) * self.data + ("https",) * bool(self.https)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_bytes > self.max_total_bytes:
            raise ValueError(
                f"max_bytes={self.max_bytes} is more than max_total_bytes={self.max_total_bytes}"
            )
        if self.hosts is not None and not self.https:
            raise ValueError(f"hosts={list(self.hosts)} has no use with https={self.https}")
        return self
