"""Settings: what is filled in, what is refused, and in which words."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from parallel.plan import ParallelPlan
from serve_app import config
from serve_app.errors import ConfigError
from serve_app.types import Effort, Rules
from tests.serve_app.samples import args

T = "pools.throughput"
IMAGES = "ingress.images"


def test_defaults() -> None:
    """The least that is valid gets one replica of one rank in each pool, and says so."""
    settings = config.parse(args())
    pool = settings.pools["throughput"]
    assert settings.model.default_effort is Effort.NONE
    assert (pool.device, pool.plan, pool.replicas, pool.autoscaling) == ("gpu", ParallelPlan(), None, None)
    assert (pool.max_ongoing_requests, pool.max_queued_requests) == (1024, 1024)
    assert settings.router.rules() == Rules(spill_over=True, max_age_s=2.0)
    assert settings.ingress.max_body_bytes == 33_554_432
    assert settings.ingress.efforts.of("chat") == {"none": Effort.NONE, "high": Effort.HIGH}
    assert settings.ingress.efforts.of("messages")["medium"] is Effort.HIGH
    assert settings.model.system_prompt is None
    assert settings.model.sampling_at(Effort.HIGH) == {"temperature": 0.7}
    assert settings.model.sampling_at(Effort.NONE) == {}
    assert (settings.ingress.max_header_bytes, settings.ingress.max_headers) == (32_768, 100)
    assert (settings.ingress.auth.has_keys, settings.ingress.auth.open) == (False, False)
    assert settings.drain_s > settings.ingress.request_timeout_s


def test_values_arrive_typed() -> None:
    """What YAML gives as strings, lists and mappings arrives as efforts, tuples and a plan."""
    settings = config.parse(
        args(
            {
                "model.default_effort": "high",
                "model.aliases": ["a", "b"],
                f"{T}.plan": {"tp": 2, "ep": True},
                f"{T}.autoscaling": {"max_replicas": 4, "target_ongoing_requests": 32},
            }
        )
    )
    assert settings.model.default_effort is Effort.HIGH
    assert settings.model.aliases == ("a", "b")
    assert settings.pools["throughput"].plan == ParallelPlan(tp=2, ep=True)
    assert settings.pools["throughput"].autoscaling == config.Autoscaling(
        max_replicas=4, target_ongoing_requests=32
    )


@pytest.mark.parametrize(
    ("part", "field"),
    [("model", "name"), ("router", "max_age_s"), ("ingress", "replicas"), ("ingress", "images")],
)
def test_is_frozen(part: str, field: str) -> None:
    """Settings stay as they were checked."""
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(config.parse(args()), part), field, 1)


def test_names_for_efforts() -> None:
    """A dialect takes the two that the model has, the usual names, or names of the operator's."""
    efforts = config.parse(
        args({"ingress.efforts": {"chat": "mapped", "responses": "strict", "messages": {"deep": "high"}}})
    ).ingress.efforts
    assert efforts.of("chat")["low"] is Effort.NONE
    assert list(efforts.of("responses")) == ["none", "high"]
    assert efforts.of("messages") == {"none": Effort.NONE, "high": Effort.HIGH, "deep": Effort.HIGH}


def test_defaults_by_effort() -> None:
    """What the operator says of one effort leaves the other as it is."""
    model = config.parse(args({"model.defaults": {"none": {"temperature": 0.1, "top_p": 0.9}}})).model
    assert model.sampling_at(Effort.NONE) == {"temperature": 0.1, "top_p": 0.9}
    assert model.sampling_at(Effort.HIGH) == {"temperature": 0.7}


def test_the_policy_for_images() -> None:
    """The short spelling is valid, and says what is the default; a list of hosts takes names and suffixes."""
    default = config.parse(args()).ingress.images
    assert config.parse(args({IMAGES: {"https": "public", "data": True}})).ingress.images == default
    assert (default.schemes, default.hosts, default.ports) == (("data", "https"), None, (443,))
    hosts = ["images.example.com", "*.cdn.example.com"]
    assert config.parse(args({f"{IMAGES}.hosts": hosts})).ingress.images.hosts == tuple(hosts)
    assert config.parse(args({IMAGES: {"https": False}})).ingress.images.schemes == ("data",)
    assert config.parse(args({IMAGES: {"data": False}})).ingress.images.schemes == ("https",)


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"model.system_prompt": "It is {now}."},
        "model.system_prompt: has {now}, but only {name}, {today}, {yesterday} can be filled in; "
        "other braces are written twice",
    ),
    (
        {"model.system_prompt": "{name.__class__}"},
        "model.system_prompt: has {name.__class__}, but only {name}, {today}, {yesterday} can be filled in; "
        "other braces are written twice",
    ),
    (
        {"model.system_prompt": "{name"},
        "model.system_prompt: expected '}' before end of string; a brace that is no field is written twice",
    ),
    ({"model.defaults": {"low": {}}}, "model.defaults.low: unknown key; known: high, none"),
    # A misspelt key at every level.
    ({"modell": {}}, "modell: unknown key; did you mean 'model'?"),
    ({"model.nmae": "x"}, "model.nmae: unknown key; did you mean 'name'?"),
    ({f"{T}.engin": {}}, f"{T}.engin: unknown key; did you mean 'engine'?"),
    ({f"{T}.plan": {"epp": 1}}, f"{T}.plan.epp: unknown key; did you mean 'ep'?"),
    (
        {f"{T}.engine.max_model_length": 8192},
        f"{T}.engine.max_model_length: unknown key; did you mean 'max_model_len'?",
    ),
    ({f"{T}.engine.zzzzz": 1}, f"{T}.engine.zzzzz: unknown key; see vLLM's engine arguments"),
    ({f"{T}.speculation.daft": "x"}, f"{T}.speculation.daft: unknown key; did you mean 'draft'?"),
    (
        {f"{T}.speculation": {"draft": "e", "adapt": {"explor": 0}}},
        f"{T}.speculation.adapt.explor: unknown key; did you mean 'explore'?",
    ),
    (
        {f"{T}.autoscaling.max_replica": 3},
        f"{T}.autoscaling.max_replica: unknown key; did you mean 'max_replicas'?",
    ),
    ({"router.spill": True}, "router.spill: unknown key; did you mean 'spill_over'?"),
    (
        {"router.zzz": 1},
        "router.zzz: unknown key; known: answer_tokens, avoid_speculation, floors, hysteresis, max_age_s, "
        "prefer, report_period_s, spill_over, targets, weights",
    ),
    ({"ingress.replica": 1}, "ingress.replica: unknown key; did you mean 'replicas'?"),
    ({f"{IMAGES}.http": True}, f"{IMAGES}.http: unknown key; did you mean 'https'?"),
    # What is missing or of the wrong kind.
    ({f"{IMAGES}.https": "private"}, f"{IMAGES}.https: Input should be 'public' or False, not 'private'"),
    ({f"{IMAGES}.https": True}, f"{IMAGES}.https: Input should be 'public' or False, not True"),
    ({f"{IMAGES}.ports": ["443"]}, f"{IMAGES}.ports.0: Input should be a valid integer, not '443'"),
    (
        {f"{IMAGES}.ports": [70000]},
        f"{IMAGES}.ports.0: Input should be less than or equal to 65535, not 70000",
    ),
    ({f"{IMAGES}.hosts": []}, f"{IMAGES}.hosts: must name at least one, not []"),
    (
        {f"{IMAGES}.hosts": ["https://a.com"]},
        f"{IMAGES}.hosts.0: must be a name, or *. and a name, in lower case, not 'https://a.com'",
    ),
    ({"model.path": ...}, "model.path: is required"),
    ({"pools": ...}, "pools: is required"),
    ({"pools": {}}, "pools: Dictionary should have at least 1 item after validation, not 0, not {}"),
    ({"model": "x"}, "model: Input should be a valid dictionary or instance of Model, not 'x'"),
    ({"env.A": 1}, "env.A: Input should be a valid string, not 1"),
    ({f"{T}.efforts": ["medium"]}, f"{T}.efforts.0: Input should be 'none' or 'high', not 'medium'"),
    ({f"{T}.efforts": []}, f"{T}.efforts: must name at least one effort, not []"),
    ({f"{T}.device": "tpu"}, f"{T}.device: Input should be 'cpu' or 'gpu', not 'tpu'"),
    (
        {"model.weight_format": "fp7"},
        "model.weight_format: Input should be 'float32', 'bf16', 'fp8' or 'nvfp4', not 'fp7'",
    ),
    (
        {"ingress.max_body_bytes": 0},
        "ingress.max_body_bytes: Input should be greater than or equal to 1, not 0",
    ),
    (
        {f"{T}.cpus_per_rank": float("nan")},
        f"{T}.cpus_per_rank: Input should be a finite number, not nan",
    ),
    ({"ingress.max_headers": 0}, "ingress.max_headers: Input should be greater than or equal to 1, not 0"),
    ({"ingress.auth": {"key_file": "x"}}, "ingress.auth.key_file: unknown key; did you mean 'keys_file'?"),
    ({"ingress.auth": {"open": "yes"}}, "ingress.auth.open: Input should be a valid boolean, not 'yes'"),
    (
        {"ingress.auth": {"keys_env": ""}},
        "ingress.auth.keys_env: String should have at least 1 character, not ''",
    ),
    # Two values that contradict each other.
    (
        {f"{T}.speculation": {"draft": "e"}, f"{T}.engine": {"scheduler_cls": "a.B"}},
        f"{T}: engine.scheduler_cls='a.B' needs speculation.adapt=false, which uses it",
    ),
    (
        {"ingress.auth": {"open": True, "keys_file": "keys.yaml"}},
        "ingress.auth: open=True and keys_file='keys.yaml' exclude each other",
    ),
    (
        {"ingress.auth": {"open": True, "keys_env": "KEYS"}},
        "ingress.auth: open=True and keys_env='KEYS' exclude each other",
    ),
    (
        {IMAGES: {"max_bytes": 2000, "max_total_bytes": 1000}},
        f"{IMAGES}: max_bytes=2000 is more than max_total_bytes=1000",
    ),
    (
        {IMAGES: {"https": False, "hosts": ["a.com"]}},
        f"{IMAGES}: hosts=['a.com'] has no use with https=False",
    ),
    ({f"{T}.plan": {"tp": 0}}, f"{T}.plan: tp=0 must be a whole number of at least 1"),
    ({f"{T}.plan": {"tp": True}}, f"{T}.plan: tp=True must be a whole number of at least 1"),
    ({f"{T}.replicas": True}, f"{T}.replicas: Input should be a valid integer, not True"),
    (
        {f"{T}.plan": {"ep": True}},
        f"{T}.plan: ep=True needs more than one rank, but tp*dp=1*1=1",
    ),
    (
        {f"{T}.replicas": 2, f"{T}.autoscaling": {"max_replicas": 3, "target_ongoing_requests": 4}},
        f"{T}: replicas=2 and autoscaling.max_replicas=3 exclude each other",
    ),
    (
        {f"{T}.autoscaling": {"min_replicas": 3, "max_replicas": 1, "target_ongoing_requests": 4}},
        f"{T}.autoscaling: min_replicas=3 is more than max_replicas=1",
    ),
    ({"pools.latency": ...}, "no pool serves effort 'high' (pools: throughput: ['none'])"),
    (
        {f"{T}.engine": {"max_num_seqs": 65}, f"{T}.max_ongoing_requests": 64},
        f"{T}: engine.max_num_seqs=65 can never be reached with max_ongoing_requests=64",
    ),
    (
        {"model.aliases": ["small", "mistral-small-4"]},
        "model: name='mistral-small-4' and aliases=['small', 'mistral-small-4'] repeat 'mistral-small-4'",
    ),
    (
        {"router.max_age_s": 0.5, "router.report_period_s": 0.5},
        "router: max_age_s=0.5 must be more than report_period_s=0.5",
    ),
    (
        {f"{T}.gpu": "H900"},
        f"{T}: no GPU named 'H900'; known: A100-40, A100-80, L40S, H100, H200, B200, B300",
    ),
    ({f"{T}.gpu": "H100", f"{T}.device": "cpu"}, f"{T}: device='cpu' has no gpu='H100'"),
    (
        {"pools.ingress": {"efforts": ["none"]}},
        "a pool may not be named 'ingress': that is the ingress deployment",
    ),
    (
        {"pools.Fast": {"efforts": ["none"]}},
        "pools.Fast.[key]: String should match pattern '^[a-z][a-z0-9-]{0,40}$', not 'Fast'",
    ),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED)
def test_one_mistake_gives_one_line(changes: dict[str, Any], line: str) -> None:
    """A wrong setting gives one line with its path and the values, or the nearest key."""
    with pytest.raises(ConfigError) as refused:
        config.parse(args(changes))
    assert refused.value.problems == [line]


@pytest.mark.parametrize("name", sorted(config.RESERVED_ENGINE_ARGUMENTS))
def test_derived_engine_arguments_are_reserved(name: str) -> None:
    """What Venturi derives may not be set a second time; the line names the setting to use."""
    with pytest.raises(ConfigError) as refused:
        config.parse(args({f"{T}.engine.{name}": 2}))
    setting = config.RESERVED_ENGINE_ARGUMENTS[name]
    assert refused.value.problems == [f"{T}: engine.{name}=2 is derived from {setting}: set that"]


def test_several_mistakes_give_several_lines() -> None:
    """Every mistake is said at once, each in a line of its own, and the error's text is those lines."""
    with pytest.raises(ConfigError) as refused:
        config.parse(
            args(
                {
                    "model.nmae": 1,
                    f"{T}.plan": {"tpp": 1, "epp": 2},
                    "router.max_age_s": 0.1,
                    "ingress.replicas": 0,
                }
            )
        )
    assert refused.value.problems == [
        "model.nmae: unknown key; did you mean 'name'?",
        f"{T}.plan.tpp: unknown key; did you mean 'tp'?",
        f"{T}.plan.epp: unknown key; did you mean 'ep'?",
        "router: max_age_s=0.1 must be more than report_period_s=0.2",
        "ingress.replicas: Input should be greater than or equal to 1, not 0",
    ]
    assert str(refused.value).splitlines() == refused.value.problems


def test_the_error_survives_pickle() -> None:
    """Ray carries the error between processes; the list arrives whole."""
    arrived = pickle.loads(pickle.dumps(ConfigError(["a: b", "c: d"])))
    assert isinstance(arrived, ConfigError)
    assert (arrived.problems, str(arrived)) == (["a: b", "c: d"], "a: b\nc: d")


def test_settings_survive_pickle() -> None:
    """Ray carries the settings to the ingress replicas."""
    settings = config.parse(args({f"{T}.plan": {"tp": 2}}))
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_engine_environment_adds_up() -> None:
    """A pool's own variables win over the common ones, and usage statistics stay off."""
    settings = config.parse(args({"env": {"A": "all", "B": "all"}, f"{T}.env": {"B": "own"}}))
    assert settings.engine_environment("throughput") == {"VLLM_NO_USAGE_STATS": "1", "A": "all", "B": "own"}
    assert settings.engine_environment("latency")["B"] == "all"


def test_relative_paths_start_at_the_project() -> None:
    """A path means the same wherever the command was given; an absolute one stays."""
    assert config.resolve("deploy/local.yaml").is_file()
    assert config.resolve("/models/x") == Path("/models/x")


def test_one_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is read by name; one that is not set is None."""
    monkeypatch.setenv("VENTURI_TEST", "")
    assert config.environment_variable("VENTURI_TEST") == ""
    monkeypatch.delenv("VENTURI_TEST")
    assert config.environment_variable("VENTURI_TEST") is None


def test_process_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child's environment can be changed without changing ours."""
    monkeypatch.setenv("VENTURI_TEST", "1")
    environment = config.process_environment()
    assert environment.pop("VENTURI_TEST") == "1"
    assert os.environ["VENTURI_TEST"] == "1"
