"""What is one pool: its engines, how they are laid out, and how many? Or a server that is not ours?"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from parallel.engine_arguments import NAMES as ENGINE_ARGUMENTS
from parallel.engine_arguments import SPECULATION_NAMES, context_splits, is_count, largest_graph
from parallel.hardware import gpu
from parallel.plan import Device, ParallelPlan
from parallel.speculation import Adapt
from serve_app.config.base import (
    Environment,
    Frozen,
    Positive,
    PositiveSeconds,
    one_at_least,
    refuse_unknown,
)
from serve_app.config.upstream import Upstream
from serve_app.types import Effort

RESERVED_ENGINE_ARGUMENTS = {
    "model": "model.path",
    "served_model_name": "model.name",
    "tensor_parallel_size": "plan.tp",
    "data_parallel_size": "plan.dp",
    "enable_expert_parallel": "plan.ep",
    "nnodes": "plan.nodes",
    "distributed_executor_backend": "plan.nodes",
    "data_parallel_backend": "plan.nodes",
    "data_parallel_size_local": "plan.nodes",
    "pipeline_parallel_size": "plan",
    "prefill_context_parallel_size": "plan",
    "data_parallel_rank": "plan",
    "data_parallel_start_rank": "plan",
    "data_parallel_external_lb": "plan",
    "data_parallel_multi_port_external_lb": "plan",
    "data_parallel_hybrid_lb": "plan",
    "node_rank": "plan",
    "speculative_config": "speculation",
    "otlp_traces_endpoint": "tracing.endpoint",
    "spec_model": "speculation.draft",
    "spec_method": "speculation",
    "spec_tokens": "speculation.max_draft_tokens",
}
"""Engine arguments that Venturi derives from a setting of its own: vLLM's name to ours."""

RESERVED_SPECULATION_ARGUMENTS = {
    "method": "speculation",
    "model": "speculation.draft",
    "num_speculative_tokens": "speculation.max_draft_tokens",
    "num_speculative_tokens_per_batch_size": "speculation.adapt",
    "max_model_len": "speculation.max_model_len",
}
"""The same of its speculative_config."""

CARRYING_ENGINE_ARGUMENTS = {
    "count_experts": ("worker_cls",),
    "speculation.adapt": ("scheduler_cls", "additional_config"),
    "speculation.fp8_output": ("additional_config",),
}
"""Those that carry a setting to the engine."""


def _refuse_reserved(engine: Mapping[str, Any], settings: Mapping[str, str]) -> None:
    for name, value in engine.items():
        if setting := settings.get(name):
            raise ValueError(f"engine.{name}={value!r} is derived from {setting}: set that")


def _adapt(given: Any) -> Any:
    """Take true for all the defaults, and refuse unknown keys, which pydantic would not in a dataclass."""
    if given is True:
        return Adapt()
    if isinstance(given, dict):
        refuse_unknown(given, Adapt.__dataclass_fields__)
    return given


def _is_json(engine: dict[str, Any]) -> dict[str, Any]:
    """Refuse what vLLM's arguments cannot be, such as the date that YAML makes of 2026-01-01."""
    try:
        json.dumps(engine)
    except TypeError as error:
        raise ValueError(f"{error}; in YAML such a text needs quotes") from None
    return engine


VllmArguments = Annotated[dict[str, Any], AfterValidator(_is_json)]

COUNTS = ("max_model_len", "max_num_seqs", "max_num_batched_tokens")
"""Engine arguments that must be whole numbers."""

MAX_NUM_SEQS = 256
"""Places of a rank whose `engine.max_num_seqs` is not given. vLLM's own number depends on the device: a
router that guesses wrong leaves places empty, or sends more than there are."""


class Speculation(Frozen):
    """EAGLE: a small draft model proposes tokens, and the target verifies them in one step."""

    draft: str
    """The EAGLE head's folder; relative paths as in model.path."""
    max_draft_tokens: Annotated[int, Field(ge=1, le=16)] = 3
    """The most draft tokens a verify step, vLLM's num_speculative_tokens."""
    adapt: Annotated[Adapt | Literal[False], BeforeValidator(_adapt)] = False
    """Whether and how the number of draft tokens follows acceptance and batch; without, always the most."""
    max_model_len: Positive | None = None
    """The longest context that the head drafts for; the target's own limit if not given."""
    fp8_output: bool = False
    """Whether the head chooses its tokens from an FP8 copy of the output layer: read in half the time, for
    another half of its memory. The target verifies them, so answers stay what they are."""
    engine: VllmArguments = Field(default_factory=dict)
    """More of vLLM's speculative_config, under vLLM's names."""

    @model_validator(mode="after")
    def _is_vllms(self) -> Self:
        _refuse_reserved(self.engine, RESERVED_SPECULATION_ARGUMENTS)
        refuse_unknown(self.engine, SPECULATION_NAMES, under="engine")
        return self


class Autoscaling(Frozen):
    """Ray Serve's autoscaling of a pool, under Serve's names."""

    min_replicas: Annotated[int, Field(ge=0)] = 1
    max_replicas: Positive
    target_ongoing_requests: Annotated[float, Field(gt=0)] | None = None
    """Requests a replica. If not given, the pool has as few replicas as are predicted to keep the targets of
    its efforts (`router.targets`)."""
    upscale_delay_s: PositiveSeconds = 30.0
    """For so long more replicas must be wanted before they are started."""
    downscale_delay_s: PositiveSeconds = 600.0
    """For so long fewer must be."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas={self.min_replicas} is more than max_replicas={self.max_replicas}"
            )
        return self


def _plan(given: Any) -> Any:
    """Leave the values to ParallelPlan, which refuses what pydantic would make a number of."""
    if not isinstance(given, dict):
        return given
    refuse_unknown(given, ParallelPlan.__dataclass_fields__)
    return ParallelPlan(**given)


class Pool(Frozen):
    """One pool: replicas with one engine configuration, or a server that is not ours."""

    upstream: Upstream | None = None
    """A server that Venturi does not run. It has efforts, and nothing else that is below."""
    efforts: tuple[Effort, ...]
    """Whose requests this pool serves first. Only an upstream may have none: it takes what others cannot."""
    device: Device = "gpu"
    gpu: str | None = None
    """The model of GPU, say H200: lets `check` say whether the weights and the context fit."""
    plan: Annotated[ParallelPlan, BeforeValidator(_plan)] = ParallelPlan()
    cpus_per_rank: Annotated[float, Field(ge=1e-4, allow_inf_nan=False)] = 1.0
    """CPUs that Ray, which knows none smaller, reserves for each rank; a reservation, not a limit."""
    replicas: Positive | None = None
    """A fixed number of replicas; 1 if neither this nor `autoscaling` is given."""
    autoscaling: Autoscaling | None = None
    node_labels: dict[str, str] = Field(default_factory=dict)
    """Labels that a Ray node must have to hold this pool's replicas, as Ray's label selectors say them."""
    max_ongoing_requests: Positive = 1024
    """Requests a replica takes at once; more wait in the ingress."""
    max_queued_requests: Positive = 1024
    """Requests that may wait in one ingress replica for this pool; more are refused with 503."""
    engine: VllmArguments = Field(default_factory=dict)
    """vLLM's engine arguments, under vLLM's names."""
    speculation: Speculation | None = None
    count_experts: bool = False
    """Whether engines count which experts their tokens choose, for /metrics and /venturi/experts."""
    env: Environment = Field(default_factory=dict)
    """Environment of the engine's processes, on top of the common `env`."""

    @property
    def places(self) -> int:
        """How many sequences a replica works on at once: of its engine's, those that it is sent."""
        return min(self.places_of_rank * self.plan.dp, self.max_ongoing_requests)

    @property
    def places_of_rank(self) -> int:
        """How many sequences a rank of the engine works on at once."""
        return int(self.engine.get("max_num_seqs") or MAX_NUM_SEQS)

    @field_validator("efforts")
    @classmethod
    def _home_to_one_at_least(cls, given: tuple[Effort, ...], info: ValidationInfo) -> tuple[Effort, ...]:
        return given if info.data.get("upstream", ...) else one_at_least(given)

    @model_validator(mode="after")
    def _upstream_runs_elsewhere(self) -> Self:
        if self.upstream is None:
            return self
        if others := sorted(self.model_fields_set - {"upstream", "efforts"}):
            raise ValueError(
                f"{others[0]}={getattr(self, others[0])!r} is for engines that Venturi runs; "
                f"upstream.url={self.upstream.url!r} runs elsewhere"
            )
        if unserved := [effort.value for effort in self.efforts if effort not in self.upstream.serves]:
            serves = [effort.value for effort in self.upstream.serves]
            raise ValueError(f"efforts has {', '.join(map(repr, unserved))}, but upstream.serves={serves}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gpu is not None:
            gpu(self.gpu)  # raises ValueError with the names that are known
            if self.device == "cpu":
                raise ValueError(f"device={self.device!r} has no gpu={self.gpu!r}")
        if self.replicas is not None and self.autoscaling is not None:
            raise ValueError(
                f"replicas={self.replicas} and autoscaling.max_replicas={self.autoscaling.max_replicas} "
                f"exclude each other"
            )
        if self.node_labels and self.plan.nodes > 1 and self.plan.dp > 1:
            raise ValueError(
                f"node_labels={self.node_labels} cannot hold with plan.nodes={self.plan.nodes} and "
                f"plan.dp={self.plan.dp}: vLLM itself places those ranks"
            )
        if self.speculation and self.speculation.adapt and self.device == "gpu" and self.plan.dp > 1:
            raise ValueError(
                f"speculation.adapt needs plan.dp=1 on GPUs, not plan.dp={self.plan.dp}: ranks would choose "
                f"unlike numbers of drafts, and have no CUDA graph for such a step"
            )
        _refuse_reserved(self.engine, RESERVED_ENGINE_ARGUMENTS)
        refuse_unknown(self.engine, ENGINE_ARGUMENTS, under="engine")
        for setting, names in CARRYING_ENGINE_ARGUMENTS.items():
            used = self.engine.keys() & names
            if used and self._is_on(setting):
                name = min(used)
                raise ValueError(f"engine.{name}={self.engine[name]!r} needs {setting}=false, which uses it")
        return self

    def _is_on(self, setting: str) -> bool:
        outer, _, name = setting.rpartition(".")
        return bool(getattr(getattr(self, outer) if outer else self, name, False))

    @model_validator(mode="after")
    def _engine_numbers(self) -> Self:
        for name in COUNTS:
            value = self.engine.get(name)
            if value is not None and not is_count(value):
                raise ValueError(f"engine.{name}={value!r} must be a whole number of at least 1")
        share = self.engine.get("gpu_memory_utilization", 1)
        if type(share) not in (int, float) or not 0 < share <= 1:
            raise ValueError(f"engine.gpu_memory_utilization={share!r} must be above 0 and at most 1")
        context_splits(self.engine)  # raises for what is no number of parts
        largest_graph(self.engine)  # raises for sizes that are none
        most_tokens = self.engine.get("max_num_batched_tokens")
        if most_tokens is not None and self.places_of_rank > most_tokens:
            raise ValueError(
                f"engine.max_num_seqs={self.places_of_rank} is more than "
                f"engine.max_num_batched_tokens={most_tokens}: each takes a token a step"
            )
        max_num_seqs = self.engine.get("max_num_seqs")
        if max_num_seqs is None:
            return self
        if max_num_seqs * self.plan.dp > self.max_ongoing_requests:
            groups = f" on each of plan.dp={self.plan.dp}" if self.plan.dp > 1 else ""
            raise ValueError(
                f"engine.max_num_seqs={max_num_seqs}{groups} can never be reached with "
                f"max_ongoing_requests={self.max_ongoing_requests}"
            )
        return self
