"""Which plain values the layers hand to each other? (frozen, standard library only)"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Headers = tuple[tuple[bytes, bytes], ...]
"""Raw HTTP headers as ASGI has them: lower-case names, in order, repeats allowed."""

REPLICA_HEADER = b"x-venturi-replica"
"""The header by which a replica signs its answers."""


BYTES_PER_TOKEN = 4
"""An estimate, for text whose tokens nobody has counted."""

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


class Shape(StrEnum):
    """What a request asks for beside text: rules may prefer a pool by it."""

    SCHEMA = "schema"
    """The answer must follow a JSON schema or another grammar."""
    TOOLS = "tools"
    IMAGES = "images"


class Block(NamedTuple):
    """A beginning of a prompt: equal keys mean equal text up to there, at the same effort."""

    key: int
    num_tokens: int
    """Estimated tokens from the prompt's beginning to this block's end."""


@dataclass(frozen=True, slots=True)
class RequestFeatures:
    """What the routing policy may know about a request."""

    effort: Effort
    plain_decoding: tuple[str, ...] = ()
    """Fields of the request that not every engine with a draft head honours."""
    tenant: str = NO_TENANT
    """Who asks; NO_TENANT where no keys are configured."""
    priority: int = 0
    """The tenant's priority; more is more important."""
    prompt_tokens: int = 0
    """Estimated from bytes, and for images from their number."""
    max_tokens: int | None = None
    """The most tokens of an answer that the request allows."""
    num_images: int = 0
    has_schema: bool = False
    has_tools: bool = False
    stream: bool = False
    blocks: tuple[Block, ...] = ()
    """Beginnings of the prompt, the shortest first; a bounded number."""
    session: str | None = None
    """What the client calls the conversation or the user, if it says."""
    first_token_deadline_s: float | None = None
    """When the answer must have begun, on the clock of the `now_s` that the policy is given."""
    deadline_s: float | None = None
    """When it must be complete, on the same clock."""
    route: str | None = None
    """The path that it came to; None where every pool has it."""
    generates: bool = True
    """Whether it takes a place in an engine's batch; counting tokens takes none."""

    @property
    def gives_up_s(self) -> float:
        """When the client stops waiting for a first token, on the same clock; infinity if it does not say."""
        said = (self.first_token_deadline_s, self.deadline_s)
        return min((at_s for at_s in said if at_s is not None), default=math.inf)

    @property
    def shapes(self) -> frozenset[Shape]:
        """What the request asks for beside text."""
        asked = {
            Shape.SCHEMA: self.has_schema,
            Shape.TOOLS: self.has_tools,
            Shape.IMAGES: self.num_images > 0,
        }
        return frozenset(shape for shape, is_asked in asked.items() if is_asked)


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a replica says about itself. It travels from the replica, so it carries no clock.

    Means are over what happened lately (`engine/stats.py` says how lately); None is "nothing yet".
    """

    replica: str
    num_ongoing: int = 0
    """HTTP requests under way, those included that the engine has not seen yet."""
    num_running: int = 0
    """Sequences in the engine's batch."""
    num_waiting: int = 0
    """Sequences that wait for a place in it."""
    kv_usage: float = 0.0
    """Share of the KV cache that is in use, 0 to 1."""
    prefill_tokens: int = 0
    """Prompt tokens that wait to be read, or are being read."""
    stalled_s: float = 0.0
    """Since the engine's last step, where it has something to do."""
    batch_size: float | None = None
    """Mean sequences that got a token in a step."""
    ttft_s: float | None = None
    """Mean seconds from a request's arrival at the engine to its first token, waiting included."""
    per_token_s: float | None = None
    """Mean seconds between two tokens of one answer."""
    prefill_s: float | None = None
    """Mean seconds from the moment that a prompt is scheduled to its first token."""
    prefill_mean_tokens: float | None = None
    """Mean tokens that had to be computed for it: the prompt without what was cached."""
    answer_tokens: float | None = None
    """Mean tokens of a finished answer."""
    acceptance: tuple[float, ...] = ()
    """For each draft position the share of verify steps that accepted it; empty without a draft head."""
    draft_tokens: int = 0
    """Draft tokens a verify step, as in force now."""
    is_draining: bool = False
    """It finishes what it has, and should get nothing new."""
    max_model_len: int | None = None
    """Tokens of prompt and answer together, where only the replica knows."""
    num_queued_elsewhere: int = 0
    """Requests that wait for the pool at other ingress replicas than the one that is told."""

    @property
    def acceptance_length(self) -> float:
        """Mean tokens that a step yields for each sequence with the draft tokens in force."""
        return 1.0 + sum(self.acceptance[: self.draft_tokens])


SCALING_MEANS = ("per_token_s", "batch_size", "prefill_s", "prefill_mean_tokens", "answer_tokens")
"""Fields of a report whose mean over a pool's replicas tells how many of them it needs,"""
SCALING_COUNTS = ("prefill_tokens", "draft_tokens")
"""and those that tell it as whole numbers."""
SCALING_QUEUE = "num_queued"
"""Under this name every replica repeats how many requests wait at the ingress for the pool."""


@dataclass(frozen=True, slots=True)
class ReplicaSnapshot:
    """What one observer knows about one replica: its last report, and what was sent there since."""

    report: ReplicaReport
    reported_at_s: float = 0.0
    """When the report arrived, on the observer's clock."""
    num_leased: int = 0
    """Requests that this observer has sent since, less those of its own that have ended since."""
    leased_tokens: int = 0
    """Estimated tokens of the prompts that it has sent since."""
    is_broken: bool = False
    """Its breaker is open: it failed what others then answered."""

    @property
    def replica(self) -> str:
        """The replica's id."""
        return self.report.replica

    @property
    def load(self) -> int:
        """Requests in flight, or the sequences that they are in the engine: of `n` answers each is one."""
        report = self.report
        return max(report.num_ongoing, report.num_running + report.num_waiting) + self.num_leased


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment, as seen from one ingress replica."""

    name: str
    efforts: frozenset[Effort]
    replicas: tuple[ReplicaSnapshot, ...] = ()
    speculates: bool = False
    max_num_seqs: int = 256
    """Sequences that one replica works on at once, over all its ranks."""
    max_model_len: int | None = None
    """Tokens of prompt and answer together; None where nobody has said."""
    draft_max_len: int | None = None
    """The longest context that the draft head proposes for; None: as long as the model's."""
    routes: frozenset[str] | None = None
    """The paths that it has; None is all of them."""
    serves: frozenset[Effort] = frozenset(Effort)
    """Efforts that it can answer at; `efforts` is those that it is home to."""
    biases_drafts: bool = False
    """Whether it honours `logit_bias`, `min_p` and `allowed_token_ids` while it speculates."""
    may_sleep: bool = False
    """Whether it may have no replica at all until one is asked for."""
    num_queued_elsewhere: int = 0
    """Requests that wait for it at other ingress replicas."""

    @property
    def sleeps(self) -> bool:
        """Whether it has no replica, and gets one when it is asked for."""
        return self.may_sleep and not self.replicas


class Reason(StrEnum):
    """Why a request went where it went: a metric label and the x-venturi-reason header."""

    EFFORT = "effort"
    """The pool serves this effort."""
    SHAPE = "shape"
    """A rule of the configuration names the pool, or excludes others, for a request of this shape."""
    PLAIN_DECODING = "plain-decoding"
    """The request uses what its home, which has a draft head, does not honour."""
    LENGTH = "length"
    """The request may grow longer than the home pool, or its draft head, can take."""
    DIALECT = "dialect"
    """The home pool does not have the request's route."""
    SPILL_OVER = "spill-over"
    """Home is predicted to miss the effort's targets, and this pool to miss them by less."""
    CACHED = "cached"
    """This pool has the beginning of the prompt in its cache, and is predicted to be done sooner."""
    NO_HEALTHY_REPLICA = "no-healthy-replica"
    """No pool for this effort had a healthy replica, so another one serves."""
    REPLICA_FAILED = "replica-failed"
    """A replica tried before failed ahead of its first byte."""


class Prediction(NamedTuple):
    """What a request is predicted to see at one replica."""

    wait_s: float
    """Until it is scheduled: for a place in the batch, and for the prompts before it."""
    ttft_s: float
    """To its first token, the wait included."""
    per_token_s: float
    """Between two tokens of its answer."""
    total_s: float
    """To its last token, if the answer is as long as expected."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Which replica of which pool takes a request, and why."""

    pool: str
    replica: str
    reason: Reason
    predicted: Prediction | None = field(default=None, compare=False)
    waits: bool = False
    """There is no free place: the request waits for one in the pool, and is then decided about anew."""
