"""Settings of traces: what they default to, what engines get of them, and what is refused."""

from typing import Any

import pytest

from serve_app.config import parse
from serve_app.engine.arguments import engine_arguments
from serve_app.errors import ConfigError
from tests.serve_app.samples import args

E = "tracing.endpoint"


def test_off() -> None:
    """Unless they are asked for; engines then get nothing of it."""
    settings = parse(args())
    assert settings.tracing is None
    assert "otlp_traces_endpoint" not in engine_arguments(settings, "throughput")
    assert not [name for name in settings.engine_environment("throughput") if name.startswith("OTEL")]


@pytest.mark.parametrize(
    ("given", "sent_to"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector.example/", "https://collector.example/v1/traces"),
        ("http://[::1]:4318/otlp/v1/traces", "http://[::1]:4318/otlp/v1/traces"),
    ],
)
def test_an_endpoint(given: str, sent_to: str) -> None:
    """An address gets OTLP's path, a whole URL is taken as it is; every request is traced."""
    tracing = parse(args({E: given})).tracing
    assert tracing is not None
    assert (tracing.endpoint, tracing.sample_ratio) == (sent_to, 1.0)


def test_engines() -> None:
    """Each pool's engines send to the same place, over HTTP, as a service of their own."""
    settings = parse(args({E: "http://collector:4318", "pools.latency.env": {"OTEL_SERVICE_NAME": "fast"}}))
    for pool, service in (("throughput", "venturi-throughput"), ("latency", "fast")):
        arguments, environment = engine_arguments(settings, pool), settings.engine_environment(pool)
        assert arguments["otlp_traces_endpoint"] == "http://collector:4318/v1/traces"
        assert environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
        assert environment["OTEL_SERVICE_NAME"] == service


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tracing": {}}, "tracing.endpoint: is required"),
        ({"tracing": {"endpont": "x"}}, "tracing.endpont: unknown key; did you mean 'endpoint'?"),
        (
            {E: "collector:4318"},
            "tracing.endpoint: must be like http://collector:4318, without query or fragment, "
            "not 'collector:4318'",
        ),
        (
            {E: "http://me:secret@collector"},
            "tracing.endpoint: must have no user or password; credentials go into OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            {"tracing": {"endpoint": "http://c:4318", "sample_ratio": 1.5}},
            "tracing.sample_ratio: Input should be less than or equal to 1, not 1.5",
        ),
        (
            {"tracing": {"endpoint": "http://c:4318", "sample_ratio": -0.1}},
            "tracing.sample_ratio: Input should be greater than or equal to 0, not -0.1",
        ),
    ],
)
def test_refused(changes: dict[str, Any], problem: str) -> None:
    """One line names the key and what it must be."""
    with pytest.raises(ConfigError) as caught:
        parse(args(changes))
    assert problem in caught.value.problems
