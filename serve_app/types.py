"""Which plain values the layers hand to each other? (frozen, standard library only)"""

from dataclasses import dataclass
from enum import StrEnum

Headers = tuple[tuple[bytes, bytes], ...]
"""Raw HTTP headers as ASGI has them: lower-case names, in order, repeats allowed."""

REPLICA_HEADER = b"x-venturi-replica"
"""The header by which a replica signs its answers."""


NO_TENANT = "-"
"""Stands for the tenant of a request whose sender is not known; no tenant can have this name."""


class Effort(StrEnum):
    """How much the model reasons before it answers; the model knows these two and no others."""

    NONE = "none"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request as an engine replica receives it.

    The body is complete: it was read once, at the ingress, under the size limit.
    """

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer: the first item of every stream from a replica."""

    status: int
    headers: Headers = ()
    opening: bytes = b""
    """The first piece of the body, if it came along: every item of a stream costs the ingress time."""

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of that lower-case name, or None."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def is_event_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return (self.header(b"content-type") or b"").startswith(b"text/event-stream")

    def signed(self, replica: str, opening: bytes = b"") -> "Head":
        """Return this head with the replica's id and the body's first piece in it."""
        return Head(self.status, (*self.headers, (REPLICA_HEADER, replica.encode())), opening)


@dataclass(frozen=True, slots=True)
class RequestFeatures:
    """What the routing policy may know about a request."""

    effort: Effort
    plain_decoding: tuple[str, ...] = ()
    """Fields of the request that an engine with a draft head does not honour."""
    tenant: str = NO_TENANT
    """Who asks; NO_TENANT where no keys are configured."""
    priority: int = 0
    """The tenant's priority; more is more important."""


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a replica says about itself. It travels from the replica, so it carries no clock."""

    replica: str
    num_ongoing: int


@dataclass(frozen=True, slots=True)
class ReplicaSnapshot:
    """What one observer knows about one replica.

    `load` is requests in flight: those the replica reported plus those this observer has sent
    since. `age_s` is seconds since the report arrived here.
    """

    replica: str
    load: int
    age_s: float


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment, as seen from one ingress replica."""

    name: str
    efforts: frozenset[Effort]
    replicas: tuple[ReplicaSnapshot, ...] = ()
    speculates: bool = False


class Reason(StrEnum):
    """Why a request went where it went: a metric label and the x-venturi-reason header."""

    EFFORT = "effort"
    """The pool serves this effort."""
    PLAIN_DECODING = "plain-decoding"
    """The request uses what an engine with a draft head does not honour."""
    NO_HEALTHY_REPLICA = "no-healthy-replica"
    """No pool for this effort had a healthy replica, so another one serves."""
    REPLICA_FAILED = "replica-failed"
    """A replica tried before failed ahead of its first byte."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Which replica of which pool takes a request, and why."""

    pool: str
    replica: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of the routing policy.

    `max_age_s`: a replica whose last report is older than this counts as unhealthy.
    """

    spill_over: bool = True
    max_age_s: float = 2.0
