"""What is a request at the moment of its decision, and where is it at home?"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from serve_app.types import PoolSnapshot, Reason, RequestFeatures


class Case(NamedTuple):
    """A request at the moment of its decision."""

    features: RequestFeatures
    now_s: float
    tried: Collection[str]
    """Replicas that failed it before its first byte."""
    answer_tokens: float
    """How long its answer is expected to be."""
    cached: Mapping[str, int]
    """Tokens of its prompt that replicas are believed to have cached."""
    session: str | None
    """The replica that had the session's last request."""
    ahead: Mapping[str, int]
    """Requests that wait at the ingress and get a place before it, by pool."""


class Homes(NamedTuple):
    """The pools that may serve a request."""

    home: Sequence[PoolSnapshot]
    away: Sequence[PoolSnapshot]
    reason: Reason
    """Why home is home."""
