"""What may stand in the `args` of a serve YAML, and what is wrong with this one?

The whole tree is frozen pydantic models: it is parsed once, and whoever holds a `Settings` holds a valid
one. Nothing else in serve_app reads the process environment.
"""

import os
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from parallel.engine_arguments import NAMES as ENGINE_ARGUMENTS
from parallel.hardware import gpu
from parallel.memory import WeightFormat
from parallel.plan import Device, ParallelPlan
from serve_app.errors import ConfigError
from serve_app.types import Effort, Rules

PROJECT_ROOT = Path(__file__).resolve().parent.parent

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
    "speculative_config": "speculation",
    "spec_model": "speculation.draft",
    "spec_method": "speculation",
    "spec_tokens": "speculation.max_draft_tokens",
}
"""Engine arguments that Venturi derives from a setting of its own: vLLM's name to ours."""

INGRESS_DEPLOYMENT = "ingress"
KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}")
DRAIN_MARGIN_S = 10.0
"""How much longer than the longest answer a replica drains."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
Positive = Annotated[int, Field(ge=1, strict=True)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Environment = dict[str, str]
T = TypeVar("T")


def _one_at_least(efforts: tuple[Effort, ...]) -> tuple[Effort, ...]:
    # Field(min_length=1) would complain of a misspelt effort a second time, as of one that is not there.
    if not efforts:
        raise ValueError("must name at least one effort, not []")
    return efforts


def _host_pattern(pattern: str) -> str:
    if not re.fullmatch(r"(\*\.)?([a-z0-9_-]+\.)*[a-z0-9_-]+", pattern):
        raise ValueError(f"must be a name, or *. and a name, in lower case, not {pattern!r}")
    return pattern


def _not_empty(given: tuple[T, ...]) -> tuple[T, ...]:
    if not given:
        raise ValueError("must name at least one, not []")
    return given


def _refuse_unknown(given: Mapping[str, Any], known: Collection[str], under: str = "") -> None:
    unknown = [str(key) for key in given if key not in known]
    if unknown:
        # `known` rides along for the message: `problem_lines` writes one line a key.
        context = {"unknown": unknown, "known": sorted(known), "under": under}
        raise PydanticCustomError("unknown_key", "unknown keys", context)


def _key_hash(given: str) -> str:
    # Not a word of what was given: whoever writes the key itself here should not find it in a log.
    if not KEY_HASH.fullmatch(given):
        raise ValueError(
            f"must be 'sha256:' and 64 hexadecimal digits, not these {len(given)} characters; "
            f"'python -m serve_app key' makes one"
        )
    return given


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if isinstance(given, dict):
            _refuse_unknown(given, cls.model_fields)
        return given


class Sampling(_Frozen):
    """Sampling parameters for requests that leave them out; vLLM's own defaults where they are not given."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


class Defaults(_Frozen):
    """Sampling by effort."""

    none: Sampling = Sampling()
    high: Sampling = Sampling(temperature=0.7)


SYSTEM_PROMPT_FIELDS = ("name", "today", "yesterday")


def _fillable(template: str) -> str:
    try:
        fields = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is no field is written twice") from None
    for _, name, spec, conversion in fields:
        if name not in SYSTEM_PROMPT_FIELDS or spec or conversion:
            known = ", ".join(f"{{{known}}}" for known in SYSTEM_PROMPT_FIELDS)
            raise ValueError(
                f"has {{{name}}}, but only {known} can be filled in; other braces are written twice"
            )
    return template


class Model(_Frozen):
    """Which weights are served, and under which names."""

    path: str
    """A folder in Mistral's native format. A relative one is relative to the project's root."""
    name: Annotated[str, StringConstraints(min_length=1)]
    aliases: tuple[str, ...] = ()
    weight_format: WeightFormat | None = None
    """For memory estimates where the checkpoint, which says it itself, is not at hand."""
    default_effort: Effort = Effort.NONE
    """The effort of a request that names none."""
    defaults: Defaults = Defaults()
    """Sampling of a request that leaves it open, by effort."""
    system_prompt: Annotated[str, AfterValidator(_fillable)] | None = None
    """For conversations that have none; {name}, {today} and {yesterday} (UTC) are filled in."""

    def sampling_at(self, effort: Effort) -> dict[str, float]:
        """Return the sampling parameters that the operator chose for `effort`."""
        chosen = self.defaults.none if effort is Effort.NONE else self.defaults.high
        return chosen.model_dump(exclude_none=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that a request may use: the served one first, then its aliases."""
        return (self.name, *self.aliases)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = self.names
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(
                f"name={self.name!r} and aliases={list(self.aliases)} repeat {', '.join(map(repr, twice))}"
            )
        return self


class Speculation(_Frozen):
    """EAGLE: a small draft model proposes tokens, and the target verifies them in one step."""

    draft: str
    """The EAGLE head's folder; relative paths as in model.path."""
    max_draft_tokens: Annotated[int, Field(ge=1, le=16)] = 3
    """Draft tokens a verify step, vLLM's num_speculative_tokens."""
    max_model_len: Positive | None = None
    """The longest context that the head drafts for; the target's own limit if not given."""


class Autoscaling(_Frozen):
    """Ray Serve's autoscaling of a pool, under Serve's names."""

    min_replicas: Annotated[int, Field(ge=0)] = 1
    max_replicas: Positive
    target_ongoing_requests: Annotated[float, Field(gt=0)]
    upscale_delay_s: PositiveSeconds = 30.0
    downscale_delay_s: PositiveSeconds = 600.0

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
    _refuse_unknown(given, ParallelPlan.__dataclass_fields__)
    return ParallelPlan(**given)


class Pool(_Frozen):
    """One pool: replicas with one engine configuration."""

    efforts: Annotated[tuple[Effort, ...], AfterValidator(_one_at_least)]
    """Whose requests this pool serves first."""
    device: Device = "gpu"
    gpu: str | None = None
    """The model of GPU, say H200: lets `check` say whether the weights and the context fit."""
    plan: Annotated[ParallelPlan, BeforeValidator(_plan)] = ParallelPlan()
    cpus_per_rank: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """CPUs that Ray reserves for each rank; a reservation, not a limit."""
    replicas: Positive | None = None
    """A fixed number of replicas; 1 if neither this nor `autoscaling` is given."""
    autoscaling: Autoscaling | None = None
    max_ongoing_requests: Positive = 1024
    """Requests a replica takes at once; more wait in the ingress."""
    max_queued_requests: Positive = 1024
    """Requests that may wait in one ingress replica for this pool; more are refused with 503."""
    engine: dict[str, Any] = {}
    """vLLM's engine arguments, under vLLM's names."""
    speculation: Speculation | None = None
    env: Environment = {}
    """Environment of the engine's processes, on top of the common `env`."""

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
        for name in self.engine:
            if setting := RESERVED_ENGINE_ARGUMENTS.get(name):
                raise ValueError(f"engine.{name}={self.engine[name]!r} is derived from {setting}: set that")
        _refuse_unknown(self.engine, ENGINE_ARGUMENTS, under="engine")
        max_num_seqs = self.engine.get("max_num_seqs")
        if isinstance(max_num_seqs, int) and max_num_seqs > self.max_ongoing_requests:
            raise ValueError(
                f"engine.max_num_seqs={max_num_seqs} can never be reached with "
                f"max_ongoing_requests={self.max_ongoing_requests}"
            )
        return self


class Router(_Frozen):
    """The routing policy."""

    spill_over: bool = True
    """Whether another pool serves when the effort's own pools have no healthy replica."""
    report_period_s: PositiveSeconds = 0.25
    """How often an ingress replica asks each engine replica for its state."""
    max_age_s: PositiveSeconds = 2.0
    """A replica whose last report is older counts as unhealthy."""

    @model_validator(mode="after")
    def _periods(self) -> Self:
        if self.max_age_s <= self.report_period_s:
            raise ValueError(
                f"max_age_s={self.max_age_s:g} must be more than report_period_s={self.report_period_s:g}"
            )
        return self

    def rules(self) -> Rules:
        """Return the part that the policy reads."""
        return Rules(spill_over=self.spill_over, max_age_s=self.max_age_s)


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


class EffortNames(_Frozen):
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


class Tenant(_Frozen):
    """Whoever holds one of some keys, and what they may use; a limit that is not given does not hold."""

    name: Name
    keys: tuple[Annotated[str, AfterValidator(_key_hash)], ...] = ()
    """Hashes of the keys, as `python -m serve_app key` prints them; the keys themselves stand nowhere."""
    requests_per_min: Positive | None = None
    tokens_per_min: Positive | None = None
    """Tokens of prompts and answers together."""
    concurrent_requests: Positive | None = None
    efforts: Annotated[tuple[Effort, ...], AfterValidator(_one_at_least)] = tuple(Effort)
    priority: Annotated[int, Field(strict=True)] = 0
    """More is more important."""


class Tenants(_Frozen):
    """The whole of a keys file. An empty list is valid: nobody may."""

    tenants: tuple[Tenant, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [tenant.name for tenant in self.tenants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tenants: {', '.join(map(repr, twice))} stands there more than once")
        holders: dict[str, str] = {}
        for tenant in self.tenants:
            for key in tenant.keys:
                if holder := holders.get(key):
                    raise ValueError(f"tenants: one key hash stands at {holder!r} and at {tenant.name!r}")
                holders[key] = tenant.name
        return self


class Auth(_Frozen):
    """Who may use the API. Without keys: whoever is on this machine, if only this machine is listened to."""

    keys_file: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A YAML or JSON file of tenants, on every node with an ingress replica. It is read again when it
    changes. A relative path is relative to the project's root."""
    keys_env: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The name of an environment variable of the ingress replicas with such a text in it."""
    open: Annotated[bool, Field(strict=True)] = False
    """Whether everyone may, wherever they are. Only without keys."""

    @model_validator(mode="after")
    def _keys_or_open(self) -> Self:
        if self.open and self.has_keys:
            name = "keys_file" if self.keys_file else "keys_env"
            raise ValueError(f"open={self.open} and {name}={getattr(self, name)!r} exclude each other")
        return self

    @property
    def has_keys(self) -> bool:
        """Whether requests need a key."""
        return self.keys_file is not None or self.keys_env is not None


HostPattern = Annotated[str, AfterValidator(_host_pattern)]


class ImagePolicy(_Frozen):
    """Which images requests may have. The ingress fetches what is named by URL; the engines fetch nothing."""

    https: Literal["public", False] = "public"
    """Whether images are fetched by https, and from where: hosts that have public addresses only, or none."""
    data: bool = True
    """Whether a request may bring images along, as data URLs or base64."""
    hosts: Annotated[tuple[HostPattern, ...], AfterValidator(_not_empty)] | None = None
    """The hosts to fetch from: full names, or `*.example.com` for every name below one. Any, if not given."""
    ports: Annotated[tuple[Port, ...], AfterValidator(_not_empty)] = (443,)
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


class Ingress(_Frozen):
    """The HTTP edge."""

    replicas: Positive = 1
    num_cpus: Annotated[float, Field(ge=0)] = 1.0
    """CPUs that Ray reserves for each ingress replica."""
    max_ongoing_requests: Positive = 1024
    """Requests that one ingress replica holds at once, streams included."""
    max_body_bytes: Positive = 32 * 2**20
    max_header_bytes: Positive = 32 * 2**10
    """Bytes of all header names and values together."""
    max_headers: Positive = 100
    auth: Auth = Auth()
    request_timeout_s: PositiveSeconds = 1800.0
    """The longest time an answer may take, from the request's arrival to its last byte."""
    efforts: EffortNames = EffortNames()
    """What clients may call an effort, by dialect."""
    images: ImagePolicy = ImagePolicy()


class Settings(_Frozen):
    """The whole of `args`."""

    model: Model
    pools: Annotated[dict[Name, Pool], Field(min_length=1)]
    router: Router = Router()
    ingress: Ingress = Ingress()
    env: Environment = {}
    """Environment of every engine process."""

    @model_validator(mode="after")
    def _every_effort_has_a_pool(self) -> Self:
        if INGRESS_DEPLOYMENT in self.pools:
            raise ValueError(
                f"a pool may not be named {INGRESS_DEPLOYMENT!r}: that is the ingress deployment"
            )
        served = {effort for pool in self.pools.values() for effort in pool.efforts}
        if missing := [effort.value for effort in Effort if effort not in served]:
            pools = ", ".join(f"{name}: {[e.value for e in p.efforts]}" for name, p in self.pools.items())
            raise ValueError(f"no pool serves effort {', '.join(map(repr, missing))} (pools: {pools})")
        return self

    def engine_environment(self, pool: str) -> Environment:
        """Return the environment variables of the engine processes of `pool`."""
        return {"VLLM_NO_USAGE_STATS": "1"} | self.env | self.pools[pool].env

    @property
    def drain_s(self) -> float:
        """How long a replica that leaves may still answer: longer than its longest answer."""
        return self.ingress.request_timeout_s + DRAIN_MARGIN_S


def parse(args: Mapping[str, Any]) -> Settings:
    """Return the settings, or raise ConfigError with one line for each thing that is wrong."""
    try:
        return Settings.model_validate(dict(args))
    except ValidationError as error:
        raise ConfigError([line for e in error.errors() for line in problem_lines(e)]) from None


def problem_lines(error: Any) -> list[str]:
    """Write one pydantic error as lines of `path.of.key: what is wrong`."""
    path = ".".join(map(str, error["loc"]))
    context = error.get("ctx", {})
    if error["type"] == "unknown_key":
        prefix = ".".join(filter(None, [path, context["under"]]))
        return [_unknown_line(prefix, key, context["known"]) for key in context["unknown"]]
    if error["type"] == "missing":
        return [f"{path}: is required"]
    message = str(context["error"]) if "error" in context else f"{error['msg']}, not {error['input']!r}"
    return [f"{path}: {message}" if path else message]


def unknown_keys(path: str, given: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Return a line for each key under `path` that is not `known`."""
    return [_unknown_line(path, str(key), sorted(known)) for key in given if key not in known]


def _unknown_line(prefix: str, key: str, known: list[str]) -> str:
    path = f"{prefix}.{key}" if prefix else key
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"{path}: unknown key; did you mean {near[0]!r}?"
    hint = f"known: {', '.join(known)}" if len(known) <= 20 else "see vLLM's engine arguments"
    return f"{path}: unknown key; {hint}"


def resolve(path: str) -> Path:
    """Return `path` as it is if absolute, else below the project's root."""
    return PROJECT_ROOT / path


def environment_variable(name: str) -> str | None:
    """Return a variable of this process's environment, or None if it is not set."""
    return os.environ.get(name)


def process_environment() -> dict[str, str]:
    """Return a copy of this process's environment, for a child process."""
    return dict(os.environ)
