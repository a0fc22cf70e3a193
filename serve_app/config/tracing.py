"""Where do traces go, and of how many requests?"""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from serve_app.config.base import Frozen, web_address

TRACES_PATH = "/v1/traces"
"""What OTLP over HTTP puts behind a collector's address."""


def _traces_url(given: str) -> str:
    """Return the whole URL, of an address without a path as OTEL_EXPORTER_OTLP_ENDPOINT has it too."""
    web_address(given, "http://collector:4318", "credentials go into OTEL_EXPORTER_OTLP_HEADERS")
    return given.rstrip("/") + TRACES_PATH if urlsplit(given).path in ("", "/") else given


class Tracing(Frozen):
    """OpenTelemetry traces of requests, from the ingress and from the engines."""

    endpoint: Annotated[str, AfterValidator(_traces_url)]
    """The collector, by OTLP over HTTP (port 4318 by custom)."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of requests that are traced, of those whose client has not decided it (`traceparent`)."""
