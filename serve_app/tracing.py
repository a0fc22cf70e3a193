"""Which spans does a request leave, and how does its trace go on in the engine?

Whoever makes spans knows OpenTelemetry's API alone; without `tracing` in the serve file its tracer makes none
and the SDK is not imported. Spans have no content: of an error they have the code, and not the message.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve_app.config import Tracing
from serve_app.errors import ApiError
from serve_app.types import Call, Decision, Headers

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

CLOSE_PATIENCE_S = 2.0
"""How long a replica that leaves tries to send its last spans."""

NO_TRACER = NoOpTracer()
STATUS = "http.response.status_code"
W3C = TraceContextTextMapPropagator()
W3C_HEADERS = frozenset(name.encode() for name in W3C.fields)


@dataclass(frozen=True)
class Traces:
    """What starts spans; off, unless it comes from `exported`."""

    tracer: Tracer = NO_TRACER
    _provider: "TracerProvider | None" = None

    async def close(self) -> None:
        """Send the spans that are left, as far as CLOSE_PATIENCE_S go."""
        if self._provider:
            sending = asyncio.get_running_loop().run_in_executor(None, self._provider.shutdown)
            await asyncio.wait({sending}, timeout=CLOSE_PATIENCE_S)


OFF = Traces()


def exported(settings: Tracing, service: str, instance: str) -> Traces:
    """Return traces that a thread of their own sends to `settings.endpoint`, some seconds later.

    Requests never wait for it: spans that the collector does not take in time are dropped, with a warning in
    the log. The SDK's own environment holds too (OTEL_EXPORTER_OTLP_HEADERS, OTEL_BSP_SCHEDULE_DELAY).
    """
    # Imported here: nobody needs them where traces are off.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.sample_ratio),
        resource=Resource.create({"service.name": service, "service.instance.id": instance}),
        shutdown_on_exit=False,  # `close` does it, and waits no longer than it has to
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.endpoint)))
    return Traces(provider.get_tracer("venturi"), provider)


def of_request(tracer: Tracer, name: str, headers: Headers) -> AbstractContextManager[Span]:
    """Make a server's span the current one; it belongs to the client's trace, if `headers` have one."""
    carrier = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers if key in W3C_HEADERS}
    return tracer.start_as_current_span(
        name,
        W3C.extract(carrier),
        SpanKind.SERVER,
        record_exception=False,
        set_status_on_exception=False,
    )


@contextmanager
def part(tracer: Tracer, name: str) -> Iterator[Span]:
    """Make a span for a part of the request's work, without becoming the current one."""
    span = tracer.start_span(name)
    try:
        yield span
    except BaseException as error:
        failed(span, code_of(error))
        raise
    finally:
        span.end()


def attempt(tracer: Tracer, decision: Decision, num_draft_tokens: int | None) -> Span:
    """Start the span of a call to a replica; whoever holds the call's lease ends it."""
    span = tracer.start_span("attempt", kind=SpanKind.CLIENT)
    if span.is_recording():
        span.set_attributes(of_decision(decision))
        if num_draft_tokens is not None:
            span.set_attribute("venturi.draft_tokens", num_draft_tokens)
        for name, value in (decision.predicted._asdict() if decision.predicted else {}).items():
            span.set_attribute(f"venturi.predicted.{name}", value)
    return span


def carried(call: Call, span: Span) -> Call:
    """Return the call with the span's context, sampled or not, in place of what the client had sent."""
    if not span.get_span_context().is_valid:
        return call
    ours: dict[str, str] = {}
    W3C.inject(ours, trace.set_span_in_context(span))
    kept = tuple(header for header in call.headers if header[0] not in W3C_HEADERS)
    return replace(call, headers=(*kept, *((key.encode(), value.encode()) for key, value in ours.items())))


def of_decision(decision: Decision) -> "Mapping[str, AttributeValue]":
    """Return where a request goes, as attributes."""
    return {
        "venturi.pool": decision.pool,
        "venturi.replica": decision.replica,
        "venturi.reason": decision.reason.value,
    }


def answered(span: Span, status: int) -> None:
    """Note the status of an answer that a span's call has got."""
    span.set_attribute(STATUS, status)
    if status >= 400:
        failed(span, str(status))


def code_of(error: BaseException) -> str:
    """Return what spans say of an error."""
    return error.code if isinstance(error, ApiError) else type(error).__name__


def failed(span: Span, code: str) -> None:
    """Mark a span as failed, with the error's code."""
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))


class TraceIds(logging.Filter):
    """Gives log records the ids of the trace and span that they were written in."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything through."""
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            record.trace_id = trace.format_trace_id(context.trace_id)
            record.span_id = trace.format_span_id(context.span_id)
        return True
