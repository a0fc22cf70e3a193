"""Do a request's spans and log lines, of ingress and engine, come together on the whole system?"""

import json
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.local import LocalSystem
from tests.collector import Collector, Received
from tests.e2e.metrics import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

SECRET = "the colour of the hidden door"
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 4},
    "/v1/messages": {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 4},
    "/v1/responses": {"input": SECRET, "max_output_tokens": 4},
    "/v1/completions": {"prompt": SECRET, "max_tokens": 4},
}


def one(found: dict[str, list[Received]], name: str) -> Received:
    """Return the one span of a name."""
    (span,) = found[name]
    return span


@pytest.mark.parametrize(
    ("path", "effort"), [*((path, "none") for path in ROUTES), ("/v1/chat/completions", "high")]
)
def test_a_trace(http: httpx.Client, collector: Collector, path: str, effort: str) -> None:
    """The client's span has the ingress's below it, that the attempt, and that the engine's; no content."""
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace}-{parent}-01", "x-reasoning-effort": effort}
    answer = http.post(path, json={"model": "mistral-small-4", **ROUTES[path]}, headers=headers)
    assert answer.status_code == 200
    pool = answer.headers["x-venturi-pool"]  # another one than home, perhaps, after a test with much to do
    wait_until(lambda: len(collector.of(trace)) == 4, timeout_s=20)
    found = collector.of(trace)
    server, attempt, engine = (one(found, name) for name in (f"POST {path}", "attempt", "llm_request"))
    assert (server.parent_id, attempt.parent_id, engine.parent_id) == (
        parent,
        server.span_id,
        attempt.span_id,
    )
    assert (server.service, engine.service) == ("venturi-ingress", f"venturi-{pool}")
    assert server.attributes["venturi.request_id"] == answer.headers["x-request-id"]
    for name in ("pool", "replica", "reason"):
        assert server.attributes[f"venturi.{name}"] == answer.headers[f"x-venturi-{name}"]
    assert attempt.attributes["venturi.draft_tokens"] >= (0 if pool == "throughput" else 1)
    assert (
        server.attributes["gen_ai.usage.output_tokens"] == engine.attributes["gen_ai.usage.completion_tokens"]
    )
    assert not [body for body in collector.raw if SECRET.encode() in body]


def test_a_log_line(http: httpx.Client, system: LocalSystem) -> None:
    """One line of JSON has the answer's request id and the trace's, and what is known of the request.

    The engine's replica names the same request.
    """
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    path = "/v1/chat/completions"
    answer = http.post(path, json=ROUTES[path], headers=headers)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log(system, "ingress").splitlines() if trace in line]

    wait_until(lambda: bool(lines()), timeout_s=10)
    (line,) = lines()
    assert (line["trace_id"], line["levelname"], line["deployment"]) == (trace, "INFO", "venturi_ingress")
    assert line["request_id"] == line["venturi"]["request_id"] == answer.headers["x-request-id"]
    assert line["venturi"]["tokens"]["output"] == answer.json()["usage"]["completion_tokens"]
    assert line["request_id"] in log(system, "throughput")
    assert SECRET not in log(system, "ingress") + log(system, "throughput")


def log(system: LocalSystem, deployment: str) -> str:
    """Return what the replica of a deployment has written, wherever Ray has it write."""
    (path,) = {
        file.path
        for process in system.processes()
        if f"ServeReplica:venturi:{deployment}" in " ".join(process.cmdline())
        for file in process.open_files()
        if f"replica_venturi_{deployment}" in file.path
    }
    return Path(path).read_text()
