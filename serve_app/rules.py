"""Which settings does the routing policy follow? (frozen, standard library only)"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serve_app.types import Effort, Prediction, RequestFeatures, Shape


@dataclass(frozen=True, slots=True)
class Targets:
    """What requests of one effort should see; None is no target."""

    ttft_s: float | None = None
    per_token_s: float | None = None
    total_s: float | None = None

    def miss(self, predicted: Prediction) -> float:
        """The largest of what is predicted over what should be: above 1 a target is missed; 0 without any.

        A first token is late by waiting alone: what reading a long prompt takes, it takes anywhere.
        """
        missed = 0.0  # asked of each of hundreds of replicas: no loop
        if self.ttft_s is not None:
            missed = predicted.wait_s / self.ttft_s
        if self.per_token_s is not None:
            missed = max(missed, predicted.per_token_s / self.per_token_s)
        if self.total_s is not None:
            missed = max(missed, predicted.total_s / self.total_s)
        return missed

    def met(self, predicted: Prediction) -> bool:
        """Whether every target is kept."""
        return self.miss(predicted) <= 1


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each scorer counts; only their proportions matter. One field a scorer of `router.scorers`."""

    ttft: float = 3.0
    per_token: float = 2.0
    queue: float = 1.0
    kv_cache: float = 1.0
    prefix: float = 1.0
    session: float = 1.0


@dataclass(frozen=True, slots=True)
class Preference:
    """Pools that come first for requests of some efforts and shapes."""

    pools: tuple[str, ...]
    efforts: frozenset[Effort] = frozenset(Effort)
    shapes: frozenset[Shape] = frozenset()
    """The request has all of these."""
    min_prompt_tokens: int = 0

    def covers(self, features: RequestFeatures) -> bool:
        """Whether it is about such a request."""
        return (
            features.effort in self.efforts
            and self.shapes <= features.shapes
            and features.prompt_tokens >= self.min_prompt_tokens
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """Who waits for a place, in which order, and how much is tried again."""

    places: float = 1.0
    """Share of a replica's places that are taken before requests wait at the ingress."""
    first: Effort | None = Effort.HIGH
    """The effort that is served first and shed last: a step of precedence above the other."""
    aging_s: float = 10.0
    """So many seconds of waiting are worth a step of precedence."""
    retry_share: float = 0.2
    """Retries over requests."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of the routing policy; `config/router.py` is what operators see of them."""

    spill_over: bool = True
    max_age_s: float = 2.0
    """A replica whose last report is older than this counts as unhealthy."""
    max_silence_s: float = 15.0
    """A request that nobody else may serve waits for a replica whose last report is no older than this."""
    prefer: tuple[Preference, ...] = ()
    """The first one that covers a request says which pools are its home; else those that serve its effort."""
    avoid_speculation: frozenset[Shape] = frozenset()
    """Shapes that no engine with a draft head gets."""
    targets: Mapping[Effort, Targets] = field(
        default_factory=lambda: {Effort.NONE: Targets(ttft_s=5.0), Effort.HIGH: Targets(ttft_s=2.0)}
    )
    answer_tokens: Mapping[Effort, int] = field(default_factory=lambda: {Effort.NONE: 256, Effort.HIGH: 1024})
    """How long an answer is expected to be, where the request does not allow less."""
    weights: Weights = Weights()
    hysteresis: float = 0.2
    """Another pool must be predicted to be done in less than 1 - this of home's time; and home takes
    requests back when it meets (1 - this) times the targets."""
    floors: Mapping[Effort, float] = field(default_factory=lambda: {Effort.NONE: 0.0, Effort.HIGH: 0.5})
    """Share of the places of a pool of this effort that requests of other homes leave free."""
    admission: Admission = Admission()
