"""What may stand in a scenario file, and what is wrong with this one?"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from parallel import hardware
from parallel.engine_arguments import CONTEXT_SPLITS
from parallel.memory import WeightFormat
from parallel.plan import ParallelPlan
from serve_app.config import read_yaml, validated
from serve_app.config.base import Frozen, Name, Positive, PositiveSeconds
from serve_app.config.router import Router
from serve_app.types import Effort

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Poisson(Frozen):
    """Requests that come independently of each other."""

    kind: Literal["poisson"]
    rate_per_s: Rate


class Bursts(Frozen):
    """Poisson arrivals, and `size` more at once every `every_s`."""

    kind: Literal["bursts"]
    rate_per_s: Rate
    every_s: PositiveSeconds
    size: Positive


class Square(Frozen):
    """Poisson arrivals whose rate is low for half of each period, then high."""

    kind: Literal["square"]
    low_per_s: Rate
    high_per_s: Rate
    period_s: PositiveSeconds


class Trace(Frozen):
    """Recorded arrivals: JSON lines with `at_s`, `effort`, `prompt_tokens`, `answer_tokens`, in order.

    Those from the scenario's `duration_s` on are left out.
    """

    kind: Literal["trace"]
    file: Path
    """Relative to the scenario's folder."""


class Closed(Frozen):
    """As many users as `concurrency`, each of whom asks again once answered, `num_requests` in all."""

    kind: Literal["closed"]
    concurrency: Positive
    num_requests: Positive


Arrivals = Annotated[Poisson | Bursts | Square | Trace | Closed, Field(discriminator="kind")]


class Length(Frozen):
    """Log-normal numbers of tokens, cut at `most`; `sigma` 0 is always the median."""

    median: Positive
    sigma: Annotated[float, Field(ge=0, le=3)] = 0.0
    most: Positive = 131_072

    @model_validator(mode="after")
    def _most_is_more(self) -> Self:
        if self.most < self.median:
            raise ValueError(f"most={self.most} must be at least median={self.median}")
        return self


class Kind(Frozen):
    """The requests of one effort."""

    share: Share
    prompt: Length = Length(median=1024)
    answer: Length = Length(median=512)
    patience_s: PositiveSeconds | None = None
    """How long clients wait for a first token, as they tell the router; None: for ever."""


class Efforts(Frozen):
    """The mix; shares add up to 1."""

    none: Kind = Kind(share=0.5)
    high: Kind = Kind(share=0.5)

    def of(self, effort: Effort) -> Kind:
        """Return the requests of one effort."""
        return self.high if effort is Effort.HIGH else self.none

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if abs(self.none.share + self.high.share - 1) > 1e-9:
            raise ValueError(f"none.share={self.none.share:g} and high.share={self.high.share:g} must make 1")
        return self


class Speculation(Frozen):
    """The draft head: for each position, the share of verify steps that accept its token."""

    acceptance: Annotated[tuple[Share, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if list(self.acceptance) != sorted(self.acceptance, reverse=True):
            raise ValueError(
                f"acceptance={list(self.acceptance)} must not rise: a token needs those before it"
            )
        return self


class Autoscaling(Frozen):
    """Replicas follow the load, as in a serve file."""

    min_replicas: Positive = 1
    max_replicas: Positive
    target_ongoing_requests: Rate | None = None
    """Requests a replica; if not given, replicas follow what is predicted of the targets."""
    upscale_delay_s: NotNegative = 30.0
    downscale_delay_s: NotNegative = 600.0
    period_s: PositiveSeconds = 10.0
    """How often the number is worked out."""
    start_s: PositiveSeconds = 120.0
    """How long a new replica takes to start."""

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas={self.max_replicas} must be at least min_replicas={self.min_replicas}"
            )
        return self


class Plan(Frozen):
    """A parallel plan, as in a serve file."""

    tp: Positive = 1
    dp: Positive = 1
    ep: bool = False
    nodes: Positive = 1

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        self.value()
        return self

    def value(self) -> ParallelPlan:
        """Return it as `parallel` reads it."""
        return ParallelPlan(**self.model_dump())


class Pool(Frozen):
    """Replicas with one engine configuration."""

    efforts: Annotated[tuple[Effort, ...], Field(min_length=1)]
    replicas: Positive = 1
    plan: Plan = Plan()
    max_num_seqs: Positive = 256
    max_num_batched_tokens: Positive = 8192
    max_queued_requests: Positive = 1024
    """Requests that may wait for a place, as in a serve file."""
    context_splits: Positive = CONTEXT_SPLITS
    """Parts that a context is read in: a serve file's `flash_attn_max_num_splits_for_cuda_graph`."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, lt=1)] = 0.92
    speculation: Speculation | None = None
    autoscaling: Autoscaling | None = None

    @model_validator(mode="after")
    def _budget(self) -> Self:
        verified = 1 + len(self.speculation.acceptance if self.speculation else ())
        if self.max_num_batched_tokens < self.max_num_seqs * verified:
            raise ValueError(
                f"max_num_batched_tokens={self.max_num_batched_tokens} must be at least max_num_seqs="
                f"{self.max_num_seqs} times {verified} tokens a step"
            )
        return self


class Failure(Frozen):
    """The first replica of a pool dies, and another takes its place."""

    at_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    pool: Name
    restart_s: PositiveSeconds = 120.0


class Scenario(Frozen):
    """One cluster under one load."""

    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    duration_s: PositiveSeconds = 120.0
    """Arrivals end then; what has come is still answered."""
    warm_up_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Requests that come before are not counted."""
    cells: Positive = 1
    """Equal clusters, each with a router of its own, that replicas and requests are divided over."""
    ingress: Positive = 1
    """Ingress replicas, which requests come to in turn; each has queues of its own."""
    gpu: str = "H200"
    weight_format: WeightFormat = WeightFormat.FP8
    arrivals: Arrivals
    efforts: Efforts = Efforts()
    pools: Annotated[dict[Name, Pool], Field(min_length=1)]
    router: Router = Router()
    failures: tuple[Failure, ...] = ()
    meets: Share = 0.95
    """For `capacity`: the share of each effort's requests that must keep the targets."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        hardware.gpu(self.gpu)
        if self.warm_up_s >= self.duration_s:
            raise ValueError(f"warm_up_s={self.warm_up_s:g} must be less than duration_s={self.duration_s:g}")
        if self.cells > 1:
            self._check_cells()
        served = {effort for pool in self.pools.values() for effort in pool.efforts}
        for effort in Effort:
            if effort not in served:
                raise ValueError(f"no pool serves effort {effort.value!r}; pools: {', '.join(self.pools)}")
        named = [failure.pool for failure in self.failures]
        named += [name for preference in self.router.prefer for name in preference.pools]
        for name in named:
            if name not in self.pools:
                raise ValueError(f"no pool is named {name!r}; there are {', '.join(self.pools)}")
        return self

    def _check_cells(self) -> None:
        if not isinstance(self.arrivals, Poisson | Square):
            raise ValueError(f"cells={self.cells} cannot be with arrivals.kind={self.arrivals.kind!r}")
        for name, pool in self.pools.items():
            if pool.replicas % self.cells or pool.autoscaling:
                raise ValueError(
                    f"cells={self.cells} must divide pools.{name}.replicas={pool.replicas}; nothing may scale"
                )


def parse(tree: Any) -> Scenario:
    """Return the scenario, or raise ConfigError with one line for each thing that is wrong."""
    return validated(Scenario, tree)


def load(path: Path) -> Scenario:
    """Read a scenario file. Raises ConfigError."""
    scenario = parse(read_yaml(path))
    if isinstance(scenario.arrivals, Trace):
        arrivals = scenario.arrivals.model_copy(update={"file": path.parent / scenario.arrivals.file})
        return scenario.model_copy(update={"arrivals": arrivals})
    return scenario
