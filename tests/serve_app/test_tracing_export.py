"""Who sends spans where: nobody without `tracing`; else a collector gets them, and none is waited for."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from serve_app import tracing
from serve_app.config import Tracing
from tests.collector import Collector
from tests.serve_app.ingress.asking import CHAT, CONVERSATION
from tests.serve_app.samples import api, client, head, system
from tests.serve_app.test_tracing import CLIENTS, SAMPLED, TRACE


def test_off_the_sdk_is_not_imported() -> None:
    """Only what makes spans, and makes none, is."""
    asked = "import sys, serve_app.tracing; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that listens."""
    with Collector() as listening:
        yield listening


async def test_a_collector_gets_them(collector: Collector) -> None:
    """By OTLP over HTTP, with the service's name, and the last ones when the app ends."""
    traces = tracing.exported(Tracing(endpoint=collector.endpoint), "venturi-ingress", "i-1")
    of = system({"t1": (head("t1"), b"{}")}, tracer=traces.tracer)
    async with client(api(of, traces=traces)) as http:
        await http.post(CHAT, json=CONVERSATION, headers={"traceparent": SAMPLED})
    found = collector.of(TRACE)
    assert {name: len(spans) for name, spans in found.items()} == {
        f"POST {CHAT}": 1,
        "admission": 1,
        "attempt": 1,
    }
    (server,) = found[f"POST {CHAT}"]
    assert (server.service, server.parent_id) == ("venturi-ingress", CLIENTS)
    assert server.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "not there"])
async def test_a_collector_that_does_not_answer(is_silent: bool) -> None:
    """Requests do not notice, nor does a replica that leaves wait for long."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if not is_silent:
            listening.close()
        traces = tracing.exported(Tracing(endpoint=f"http://127.0.0.1:{port}"), "venturi-ingress", "i-1")
        of = system({"t1": (head("t1"), b"{}")}, tracer=traces.tracer)
        async with client(api(of, traces=traces)) as http:
            began_s = time.monotonic()
            answers = [await http.post(CHAT, json=CONVERSATION) for _ in range(5)]
            took_s = time.monotonic() - began_s
            began_s = time.monotonic()
        assert time.monotonic() - began_s < tracing.CLOSE_PATIENCE_S + 1
    assert [answer.status_code for answer in answers] == [200] * 5
    assert took_s < 2
