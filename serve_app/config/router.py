"""How does the router decide: which pools first, what is promised, what counts for how much?"""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from serve_app import rules
from serve_app.config.base import Frozen, Name, Positive, PositiveSeconds, one_at_least
from serve_app.rules import Rules
from serve_app.types import Effort, Shape

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Target(Frozen):
    """What requests of an effort should see; what is not given is no target."""

    ttft_s: PositiveSeconds | None = None
    """To the first token."""
    per_token_s: PositiveSeconds | None = None
    """Between two tokens."""
    total_s: PositiveSeconds | None = None
    """To the last token."""

    def values(self) -> rules.Targets:
        """Return them as the policy reads them."""
        return rules.Targets(**self.model_dump())


class Targets(Frozen):
    """Targets by effort. An effort whose home is predicted to miss one may be served elsewhere."""

    none: Target = Target(ttft_s=5.0)
    high: Target = Target(ttft_s=2.0)


class AnswerTokens(Frozen):
    """How long answers are expected to be, by effort, where the request does not allow less."""

    none: Positive = 256
    high: Positive = 1024


class Floors(Frozen):
    """Share of the places (`max_num_seqs`) of an effort's pools that requests of other homes leave free."""

    none: Share = 0.0
    high: Share = 0.5


class Weights(Frozen):
    """How much each scorer counts; only their proportions matter."""

    ttft: Weight = 3.0
    """Predicted time to the first token."""
    per_token: Weight = 2.0
    """Predicted time between two tokens."""
    queue: Weight = 1.0
    """Requests in flight over places."""
    kv_cache: Weight = 1.0
    """Free share of the KV cache."""
    prefix: Weight = 1.0
    """Share of the prompt that is believed to be cached."""
    session: Weight = 1.0
    """Whether the session's last request went there."""

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("at least one weight must be more than 0")
        return self


class Preference(Frozen):
    """Pools that are home to some requests, whatever the pools' own efforts."""

    pools: Annotated[tuple[Name, ...], AfterValidator(one_at_least)]
    efforts: Annotated[tuple[Effort, ...], AfterValidator(one_at_least)] = tuple(Effort)
    shapes: tuple[Shape, ...] = ()
    """All of these."""
    min_prompt_tokens: Annotated[int, Field(ge=0, strict=True)] = 0


class Admission(Frozen):
    """Who waits at the ingress for a place, in which order, and how much is tried again."""

    places: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Share of a replica's places (`max_num_seqs`) that are taken before requests wait at the ingress."""
    first: Effort | None = Effort.HIGH
    """The effort that is served first and shed last, as if its tenant's priority were one more; or null."""
    aging_s: PositiveSeconds = 10.0
    """So many seconds of waiting are worth a step of priority."""
    retry_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Retries over requests, beside a few at once."""

    def values(self) -> rules.Admission:
        """Return them as the router reads them."""
        return rules.Admission(**self.model_dump())


class Router(Frozen):
    """The routing policy."""

    spill_over: bool = True
    """Whether another pool may serve when home is down, or late by the targets."""
    report_period_s: PositiveSeconds = 0.2
    """How often an ingress replica asks each engine replica for its state."""
    max_age_s: PositiveSeconds = 2.0
    """A replica whose last report is older counts as unhealthy."""
    max_silence_s: PositiveSeconds = 15.0
    """A request that nobody else may serve waits for a replica whose last report is no older than this:
    an engine's server that many requests reach at once may be too busy to report for seconds."""
    prefer: tuple[Preference, ...] = ()
    """The first one that covers a request says where its home is; without, the pools of its effort are."""
    avoid_speculation: tuple[Shape, ...] = ()
    """Shapes of requests that no pool with a draft head gets."""
    targets: Targets = Targets()
    answer_tokens: AnswerTokens = AnswerTokens()
    weights: Weights = Weights()
    hysteresis: Share = 0.2
    """A request leaves home for a pool that takes less than 1 - this of the time, and requests return when
    home meets its targets with this much to spare."""
    floors: Floors = Floors()
    admission: Admission = Admission()

    @model_validator(mode="after")
    def _periods(self) -> Self:
        if self.max_age_s <= self.report_period_s:
            raise ValueError(
                f"max_age_s={self.max_age_s:g} must be more than report_period_s={self.report_period_s:g}"
            )
        if self.max_silence_s < self.max_age_s:
            raise ValueError(
                f"max_silence_s={self.max_silence_s:g} must not be less than max_age_s={self.max_age_s:g}"
            )
        return self

    def rules(self) -> Rules:
        """Return the part that the policy reads."""
        return Rules(
            spill_over=self.spill_over,
            max_age_s=self.max_age_s,
            max_silence_s=self.max_silence_s,
            prefer=tuple(
                rules.Preference(p.pools, frozenset(p.efforts), frozenset(p.shapes), p.min_prompt_tokens)
                for p in self.prefer
            ),
            avoid_speculation=frozenset(self.avoid_speculation),
            targets={Effort.NONE: self.targets.none.values(), Effort.HIGH: self.targets.high.values()},
            answer_tokens={Effort.NONE: self.answer_tokens.none, Effort.HIGH: self.answer_tokens.high},
            weights=rules.Weights(**self.weights.model_dump()),
            hysteresis=self.hysteresis,
            floors={Effort.NONE: self.floors.none, Effort.HIGH: self.floors.high},
            admission=self.admission.values(),
        )
