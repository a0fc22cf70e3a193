"""The line in the log for each request: when there is one, what is in it, and what is not."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, url_attributes
from ray._common.formatters import JSONFormatter
from ray.serve._private.logging_utils import log_access_log_filter

from serve_app.engine.scripted import Step
from serve_app.errors import ReplicaLost
from serve_app.ingress import record
from serve_app.ingress.auth import key_hash
from serve_app.ingress.decisions import Entry
from serve_app.ingress.record import logger
from tests.serve_app.ingress.asking import CHAT, EVENTS, SSE, body
from tests.serve_app.ingress.small import bearer, ingress
from tests.serve_app.samples import System, api, client, head, system

SECRET = "the colour of the hidden door"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'


class Lines(logging.Handler):
    """Keeps what Ray Serve would write with `logging_config: {encoding: JSON}`, access log only."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JSONFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        if not log_access_log_filter(record):
            self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Return what is being written."""
    handler = Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.lines
    logger.setLevel(level)
    logger.removeHandler(handler)


async def post(of: System, headers: dict[str, str] | None = None, **fields: object) -> None:
    """Send one chat request."""
    async with client(api(of)) as http:
        await http.post(CHAT, json=body(**fields), headers=headers)


async def test_a_stream(lines: list[dict[str, Any]]) -> None:
    """It has all that the list of decisions has, in words and as fields."""
    script: tuple[Step, ...] = (head("l1", SSE), EVENTS[0], USAGE, EVENTS[1])
    await post(system({}, {"l1": script}), {"x-request-id": "r-1"}, reasoning_effort="high", stream=True)
    (line,) = lines
    said, found = line["message"], line["venturi"]
    assert said.startswith(f"POST {CHAT} 200 high by latency/l1 (effort) complete, 0.")
    assert (found["request_id"], found["pool"], found["replica"]) == ("r-1", "latency", "l1")
    assert (found["effort"], found["reason"], found["outcome"]) == ("high", "effort", "complete")
    assert found["tokens"] == {"input": 7, "output": 2}
    assert 0 < found["measured"]["ttft_s"] <= found["measured"]["total_s"]


async def test_refusals(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    """What was not let in, not understood or not served has a line with the code."""
    keys = tmp_path / "keys.yaml"
    keys.write_text(f'{{"tenants": [{{"name": "one", "keys": ["{key_hash(b"vk-one")}"]}}]}}')
    async with client(api(system({}), limits=ingress(keys_file=str(keys)))) as http:
        await http.post(CHAT, json=body(), headers=bearer("vk-nobody"))
        await http.post(CHAT, content=b"{", headers=bearer("vk-one"))
        await http.post(CHAT, json=body(), headers=bearer("vk-one"))
    found = [line["venturi"] for line in lines]
    assert [(one["status"], one["reason"], one["tenant"], one["effort"]) for one in found] == [
        (401, "invalid_api_key", None, None),
        (400, "invalid_value", "one", None),
        (503, "no_healthy_replica", "one", "none"),
    ]
    assert "vk-" not in json.dumps(lines)


async def test_an_answer_that_breaks(lines: list[dict[str, Any]]) -> None:
    """The status was 200 by then."""
    await post(system({"t1": (head("t1", SSE), EVENTS[0], ReplicaLost("t1 died"))}), stream=True)
    (line,) = lines
    assert (line["venturi"]["status"], line["venturi"]["outcome"]) == (200, "broken")


async def test_a_fault_of_ours(lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a 500, as the client sees it."""
    monkeypatch.setattr("serve_app.ingress.api.request_body.parse", lambda _: 1 / 0)
    await post(system({}))
    (line,) = lines
    assert (line["venturi"]["status"], line["venturi"]["reason"]) == (500, "internal_error")


async def test_no_content(lines: list[dict[str, Any]]) -> None:
    """Neither prompt nor answer is in it."""
    script: tuple[Step, ...] = (head("t1"), json.dumps({"answer": SECRET}).encode())
    await post(system({"t1": script}), messages=[{"role": "user", "content": SECRET}])
    assert len(lines) == 1
    assert SECRET not in json.dumps(lines)


async def test_probes_have_none(lines: list[dict[str, Any]]) -> None:
    """Nor do operators' pages."""
    async with client(api(system({}))) as http:
        for path in ("/health", "/ready", "/metrics", "/venturi/decisions"):
            await http.get(path)
    assert lines == []


def test_names_are_those_of_the_conventions() -> None:
    """Every attribute that is not ours is in OpenTelemetry's own list."""
    known = set()
    for module in (gen_ai_attributes, http_attributes, url_attributes, error_attributes):
        known |= {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    names = record._attributes(Entry("r", "POST", CHAT, 0.0), "m").keys() | {"error.type"}
    assert {name for name in names if not name.startswith("venturi.")} <= known
