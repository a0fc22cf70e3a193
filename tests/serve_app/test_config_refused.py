"""Settings: what is refused, and in which words."""

from typing import Any

import pytest

from serve_app import config
from serve_app.errors import ConfigError
from tests.serve_app.samples import args, problems

T = "pools.throughput"
IMAGES = "ingress.images"

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
    *(
        (
            {"ingress.allowed_origins": ["https://good.example", origin]},
            "ingress.allowed_origins.1: must be '*', or as browsers send it, such as "
            "https://chat.example.com or http://localhost:3000 (in lower case, no path, no :80 or :443), "
            f"not {origin!r}",
        )
        for origin in (
            "chat.example.com",
            "https://chat.example.com/",
            "https://chat.example.com/app",
            "https://Chat.example.com",
            "https://chat.example.com:443",
            "http://chat.example.com:80",
            "https://*.example.com",
            "https://me@chat.example.com",
            "https://chat.example.com\n",
            "null",
            "",
        )
    ),
    ({"ingress.allowed_origins": "*"}, "ingress.allowed_origins: Input should be a valid tuple, not '*'"),
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
        {f"{T}.speculation": {"draft": "e", "engine": {"rejection_method": "x"}}},
        f"{T}.speculation.engine.rejection_method: unknown key; did you mean 'rejection_sample_method'?",
    ),
    (
        {f"{T}.speculation": {"draft": "e", "engine": {"model": "f"}}},
        f"{T}.speculation: engine.model='f' is derived from speculation.draft: set that",
    ),
    (
        {f"{T}.node_labels": {"pool": "big"}, f"{T}.plan": {"dp": 2, "nodes": 2}},
        f"{T}: node_labels={{'pool': 'big'}} cannot hold with plan.nodes=2 and plan.dp=2: "
        "vLLM itself places those ranks",
    ),
    (
        {f"{T}.autoscaling.max_replica": 3},
        f"{T}.autoscaling.max_replica: unknown key; did you mean 'max_replicas'?",
    ),
    ({"router.spill": True}, "router.spill: unknown key; did you mean 'spill_over'?"),
    (
        {"router.zzz": 1},
        "router.zzz: unknown key; known: admission, answer_tokens, avoid_speculation, floors, hysteresis, "
        "max_age_s, max_silence_s, prefer, report_period_s, spill_over, targets, weights",
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
    ({f"{T}.efforts": []}, f"{T}.efforts: must name at least one, not []"),
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
    (
        {f"{T}.cpus_per_rank": 0.00001},
        f"{T}.cpus_per_rank: Input should be greater than or equal to 0.0001, not 1e-05",
    ),
    (
        {"ingress.num_cpus": float("inf")},
        "ingress.num_cpus: Input should be a finite number, not inf",
    ),
    ({"ingress.max_headers": 0}, "ingress.max_headers: Input should be greater than or equal to 1, not 0"),
    ({"ingress.auth": {"key_file": "x"}}, "ingress.auth.key_file: unknown key; did you mean 'keys_file'?"),
    ({"ingress.auth": {"open": "yes"}}, "ingress.auth.open: Input should be a valid boolean, not 'yes'"),
    (
        {"ingress.auth": {"keys_env": ""}},
        "ingress.auth.keys_env: String should have at least 1 character, not ''",
    ),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED)
def test_one_mistake_gives_one_line(changes: dict[str, Any], line: str) -> None:
    """A wrong setting gives one line with its path and the values, or the nearest key."""
    assert problems(changes) == [line]


@pytest.mark.parametrize("name", sorted(config.RESERVED_ENGINE_ARGUMENTS))
def test_derived_engine_arguments_are_reserved(name: str) -> None:
    """What Venturi derives may not be set a second time; the line names the setting to use."""
    setting = config.RESERVED_ENGINE_ARGUMENTS[name]
    assert problems({f"{T}.engine.{name}": 2}) == [
        f"{T}: engine.{name}=2 is derived from {setting}: set that"
    ]


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
