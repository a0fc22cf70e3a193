"""Spans of a request: which there are, what is in them, and who gets them."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags, Tracer

from serve_app import tracing
from serve_app.engine.scripted import Step
from serve_app.errors import ReplicaLost
from serve_app.tracing import Traces
from serve_app.types import Head
from tests.serve_app.ingress.asking import CHAT, EVENTS, SSE, body
from tests.serve_app.samples import System, api, client, head, system, until

SECRET = "the colour of the hidden door"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENTS = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{CLIENTS}-01"


@dataclass
class Kept:
    """A tracer, and the spans that have ended."""

    tracer: Tracer
    exporter: InMemorySpanExporter

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name in the order in which they ended."""
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of the one span of a name."""
        (span,) = self.spans(name)
        return dict(span.attributes or {})


def kept(sample_ratio: float = 1.0) -> Kept:
    """Return a tracer that samples as the real one does."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(sample_ratio), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Kept(provider.get_tracer("venturi"), exporter)


def parts(kept: Kept, **scripts: Any) -> System:
    """Return a system of these replicas whose router traces."""
    return system(scripts.get("throughput", {}), scripts.get("latency"), tracer=kept.tracer)


async def post(
    of: System, kept: Kept, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    """Send one chat request."""
    async with client(api(of, traces=Traces(kept.tracer))) as http:
        return await http.post(CHAT, json=body(**fields), headers=headers)


def ids(span: ReadableSpan) -> tuple[str, str, str | None]:
    """Return trace, span and parent of a span."""
    context = span.get_span_context()
    assert context
    return (
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        f"{span.parent.span_id:016x}" if span.parent else None,
    )


def sent(of: System, name: bytes) -> list[bytes]:
    """Return the values of a header that the latest call to a replica had."""
    _, call = next(backend for backend in of.backends.values() if backend.calls).calls[-1]
    return [value for key, value in call.headers if key == name]


def is_sampled(of: System) -> bool:
    """Whether the latest call to a replica was told to trace."""
    (context,) = sent(of, b"traceparent")
    return bool(int(context.rpartition(b"-")[2], 16) & TraceFlags.SAMPLED)


async def test_a_stream() -> None:
    """One trace: the client's span, the ingress's, then admission and the attempt, whose context goes on."""
    traces = kept()
    script: tuple[Step, ...] = (head("l1", SSE), EVENTS[0], USAGE, EVENTS[1])
    of = parts(traces, latency={"l1": script})
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=x", "x-request-id": "r-1"}
    await post(of, traces, headers, reasoning_effort="high", stream=True)
    (server,), (admission,), (attempt,) = (
        traces.spans(name) for name in (f"POST {CHAT}", "admission", "attempt")
    )
    assert ids(server)[0::2] == (TRACE, CLIENTS)
    assert {ids(part)[0::2] for part in (admission, attempt)} == {(TRACE, ids(server)[1])}
    assert sent(of, b"traceparent") == [f"00-{TRACE}-{ids(attempt)[1]}-01".encode()]
    assert sent(of, b"tracestate") == [b"vendor=x"]
    assert (server.kind, attempt.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    found = traces.attributes(f"POST {CHAT}")
    assert 0 < found.pop("gen_ai.response.time_to_first_chunk") < 1
    assert found == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "url.path": CHAT,
        "url.scheme": "http",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "mistral-small-4",
        "gen_ai.request.stream": True,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "venturi.request_id": "r-1",
        "venturi.tenant": "-",
        "venturi.effort": "high",
        "venturi.outcome": "complete",
        "venturi.pool": "latency",
        "venturi.replica": "l1",
        "venturi.reason": "effort",
    }


async def test_an_attempt() -> None:
    """It says where it goes, what is predicted, how many tokens are drafted there, and what came."""
    traces = kept()
    await post(parts(traces, throughput={"t1": (head("t1"), b"{}")}), traces)
    found = traces.attributes("attempt")
    predicted = {name for name in found if name.startswith("venturi.predicted.")}
    assert predicted == {f"venturi.predicted.{n}" for n in ("wait_s", "ttft_s", "per_token_s", "total_s")}
    assert {name: value for name, value in found.items() if name not in predicted} == {
        "venturi.pool": "throughput",
        "venturi.replica": "t1",
        "venturi.reason": "effort",
        "venturi.draft_tokens": 0,
        "http.response.status_code": 200,
    }


async def test_each_replica_that_is_tried() -> None:
    """A replica that fails has an attempt of its own, with the error's code."""
    traces = kept()
    of = parts(traces, throughput={"t1": (ReplicaLost(SECRET),)}, latency={"l1": (head("l1"), b"{}")})
    answer = await post(of, traces)
    assert answer.status_code == 200
    lost, answered = traces.spans("attempt")
    assert (lost.attributes or {})["error.type"] == "replica_lost"
    assert lost.status.status_code is StatusCode.ERROR
    assert (answered.attributes or {})["venturi.replica"] == "l1"
    assert answered.status.status_code is StatusCode.UNSET
    assert len(traces.spans("admission")) == 2


@pytest.mark.parametrize("script", [(), (60.0,)], ids=["ends without an answer", "is gone"])
async def test_a_replica_that_leaves(script: tuple[Step, ...]) -> None:
    """Its attempt has failed, also where the replica itself says nothing."""
    traces = kept()
    of = parts(traces, throughput={"t1": script})
    async with client(api(of, traces=Traces(traces.tracer))) as http:
        asked = asyncio.create_task(http.post(CHAT, json=body()))
        await until(lambda: bool(of.backends["throughput"].calls))
        of.backends["throughput"].replicas = {}
        assert (await asked).status_code == 502
    assert traces.attributes("attempt")["error.type"] == "replica_lost"


async def test_a_refusal() -> None:
    """An answer of ours has the error's code: as a failure of the server if it is one."""
    traces = kept()
    assert (await post(parts(traces), traces)).status_code == 503
    (server,) = traces.spans(f"POST {CHAT}")
    assert (server.attributes or {})["error.type"] == "no_healthy_replica"
    assert server.status.status_code is StatusCode.ERROR
    traces = kept()
    assert (await post(parts(traces), traces, reasoning_effort="medium")).status_code == 400
    (server,) = traces.spans(f"POST {CHAT}")
    assert (server.attributes or {})["venturi.reason"] == "invalid_value"
    assert server.status.status_code is StatusCode.UNSET


async def test_an_answer_that_breaks() -> None:
    """The pool that lost it is named, with the error."""
    traces = kept()
    await post(parts(traces, throughput={"t1": (head("t1"), b"{", ReplicaLost("t1 died"))}), traces)
    found = traces.attributes(f"POST {CHAT}")
    assert (found["venturi.pool"], found["venturi.reason"]) == ("throughput", "replica_lost")
    assert (found["error.type"], found["venturi.outcome"]) == ("replica_lost", "broken")


async def test_a_stream_that_breaks() -> None:
    """Its status was 200 by then; the spans say that it failed."""
    traces = kept()
    of = parts(traces, throughput={"t1": (head("t1", SSE), EVENTS[0], ReplicaLost("t1 died"))})
    await post(of, traces, stream=True)
    assert traces.attributes(f"POST {CHAT}")["error.type"] == "broken"
    assert traces.attributes("attempt")["error.type"] == "replica_lost"


async def test_a_client_that_leaves() -> None:
    """All of its spans end."""
    traces = kept()
    of = parts(traces, throughput={"t1": (head("t1", SSE), EVENTS[0], 60.0)})
    app = api(of, traces=Traces(traces.tracer))
    async with client(app) as http:
        asked = asyncio.create_task(http.post(CHAT, json=body(stream=True)))
        await until(lambda: bool(of.backends["throughput"].calls))
        await asyncio.sleep(0.02)
        asked.cancel()
        await until(lambda: len(traces.exporter.get_finished_spans()) == 3)
    assert traces.attributes(f"POST {CHAT}")["venturi.outcome"] == "abandoned"


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_who_is_traced(ratio: float) -> None:
    """The client's decision holds, the ratio is for those that have not decided, and the engine is told."""
    traces = kept(ratio)
    of = parts(traces, throughput={"t1": (head("t1"), b"{}")})
    await post(of, traces)
    assert len(traces.exporter.get_finished_spans()) == (3 if ratio else 0)
    assert is_sampled(of) == bool(ratio)
    traces.exporter.clear()
    await post(of, traces, {"traceparent": SAMPLED})
    assert len(traces.exporter.get_finished_spans()) == 3
    traces.exporter.clear()
    await post(of, traces, {"traceparent": SAMPLED[:-1] + "0"})
    assert traces.exporter.get_finished_spans() == ()
    assert not is_sampled(of)


@pytest.mark.parametrize("given", ["", "00-zz", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\xff"])
async def test_a_context_that_is_none(given: str) -> None:
    """A new trace begins."""
    traces = kept()
    async with client(
        api(parts(traces, throughput={"t1": (head("t1"), b"{}")}), traces=Traces(traces.tracer))
    ) as http:
        answer = await http.post(CHAT, json=body(), headers={b"traceparent": given.encode("latin-1")})
    assert answer.status_code == 200
    (server,) = traces.spans(f"POST {CHAT}")
    assert server.parent is None


async def test_no_content() -> None:
    """Neither prompt nor answer nor an engine's words are in any span."""
    traces = kept()
    script: tuple[Step, ...] = (Head(400, ((b"content-type", b"application/json"),)), SECRET.encode())
    asked = [{"role": "user", "content": SECRET}]
    await post(
        parts(traces, throughput={"t1": script}), traces, messages=asked, metadata={"session_id": SECRET}
    )
    spans = traces.exporter.get_finished_spans()
    assert len(spans) == 3
    assert not [span.to_json() for span in spans if SECRET in span.to_json()]


async def test_probes_and_the_console_are_not_traced() -> None:
    """They come all the time."""
    traces = kept()
    async with client(api(parts(traces), traces=Traces(traces.tracer))) as http:
        for path in ("/health", "/ready", "/metrics", "/venturi/pools", "/console/"):
            await http.get(path)
    assert traces.exporter.get_finished_spans() == ()


async def test_off_the_clients_context_travels_as_it_came() -> None:
    """Nobody adds to it, and nobody makes one."""
    of = system({"t1": (head("t1"), b"{}")})
    async with client(api(of)) as http:
        await http.post(CHAT, json=body(), headers={"traceparent": SAMPLED})
        assert sent(of, b"traceparent") == [SAMPLED.encode()]
        await http.post(CHAT, json=body())
        assert sent(of, b"traceparent") == []


async def test_log_records_have_the_ids(caplog: pytest.LogCaptureFixture) -> None:
    """Those of the span that they are written in; others have none."""
    traces = kept()
    logger, ids_filter = logging.getLogger("ray.serve"), tracing.TraceIds()
    logger.addFilter(ids_filter)
    try:
        with caplog.at_level(logging.INFO, logger="ray.serve"):
            logger.addHandler(caplog.handler)
            await post(
                parts(traces, throughput={"t1": (head("t1"), b"{}")}), traces, {"traceparent": SAMPLED}
            )
            logger.info("outside")
    finally:
        logger.removeHandler(caplog.handler)
        logger.removeFilter(ids_filter)
    (server,) = traces.spans(f"POST {CHAT}")
    inside = [record for record in caplog.records if hasattr(record, "venturi")]
    assert {(record.trace_id, record.span_id) for record in inside} == {ids(server)[:2]}  # type: ignore[attr-defined]
    assert not hasattr(caplog.records[-1], "trace_id")
