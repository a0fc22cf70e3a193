"""Settings: what is filled in, and what they are to others."""

import os
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from parallel.plan import ParallelPlan
from serve_app import config
from serve_app.errors import ConfigError
from serve_app.rules import Rules
from serve_app.types import Effort
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
    ours = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_TUNED_CONFIG_FOLDER": str(config.PROJECT_ROOT / "deploy/kernels"),
    }
    assert settings.engine_environment("throughput") == ours | {"A": "all", "B": "own"}
    assert settings.engine_environment("latency")["B"] == "all"
    on_cpu = config.parse(args({f"{T}.device": "cpu", f"{T}.env": {}}))
    assert "VLLM_TUNED_CONFIG_FOLDER" not in on_cpu.engine_environment("throughput")


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
