"""The HTTP edge over scripted replicas: what reaches which engine, and what comes back from it."""

import base64
import json
from typing import Any

import pytest

from serve_app.config import Model
from serve_app.engine.scripted import OK, Step
from serve_app.errors import PoolBusy, ReplicaLost
from serve_app.ingress.dialects import DIALECTS, Dialect
from serve_app.ingress.fetch import Fetcher
from serve_app.types import Effort
from tests.serve_app.ingress.asking import (
    CHAT,
    CONVERSATION,
    EVENTS,
    FREE,
    SSE,
    body,
    post,
    refusal,
    venturi_headers,
)
from tests.serve_app.ingress.web import picture
from tests.serve_app.samples import MODEL, api, client, head, system


@pytest.mark.parametrize(
    ("fields", "pool", "replica"),
    [
        ({}, "throughput", "t1"),
        ({"reasoning_effort": None}, "throughput", "t1"),
        ({"reasoning_effort": "none"}, "throughput", "t1"),
        ({"reasoning_effort": "high"}, "latency", "l1"),
        ({"model": "small", "reasoning_effort": "high"}, "latency", "l1"),
    ],
)
async def test_a_whole_answer(fields: dict[str, Any], pool: str, replica: str) -> None:
    """The effort chooses the pool, the engine's answer passes through, and the headers say who gave it."""
    parts = system({"t1": (head("t1"), b'{"a":', b"1}")}, {"l1": (head("l1"), b'{"a":1}')})
    answer = await post(parts, json=body(**fields))
    assert (answer.status_code, answer.content) == (200, b'{"a":1}')
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == "7"
    assert venturi_headers(answer) == (pool, replica, "effort")
    assert answer.headers["x-venturi-effort"] == _effort(pool)
    assert parts.num_leases() == FREE
    assert parts.num_cancels() == 0
    assert (
        parts.counted("venturi_request_seconds_count", pool=pool, effort=_effort(pool), stream="false") == 1
    )


def _effort(pool: str) -> str:
    return {"throughput": "none", "latency": "high"}[pool]


async def test_a_stream() -> None:
    """A stream's events go out as the engine sent them, under the same headers."""
    parts = system({"t1": (head("t1", SSE), *EVENTS)})
    answer = await post(parts, json=body(stream=True))
    assert (answer.status_code, answer.content) == (200, b"".join(EVENTS))
    assert answer.headers["content-type"] == SSE
    assert venturi_headers(answer) == ("throughput", "t1", "effort")
    assert parts.num_leases() == FREE


async def test_what_the_engine_gets() -> None:
    """The body goes on byte for byte; of the headers only the request's id and trace."""
    parts = system({"t1": (head("t1"), b"{}")})
    content = b' {"model":"mistral-small-4", "messages":[]}\n'
    headers = {
        "x-request-id": "r-1",
        "traceparent": "00-a",
        "authorization": "Bearer k",
        "content-type": "text/x",
    }
    await post(parts, json=None, content=content, headers=headers)
    ((_, call),) = parts.backends["throughput"].calls
    assert (call.method, call.path, call.body) == ("POST", CHAT, content)
    assert set(call.headers) == {
        (b"content-type", b"application/json"),
        (b"x-request-id", b"r-1"),
        (b"traceparent", b"00-a"),
    }


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.path)
async def test_every_dialect_travels_as_it_came(dialect: Dialect) -> None:
    """A body that needs nothing reaches vLLM's route of the same path, byte for byte."""
    parts = system({"t1": (head("t1"), b"{}")})
    content = b' {"model" : "small"}\n'
    async with client(api(parts)) as http:
        answer = await http.post(dialect.path, content=content)
    ((_, call),) = parts.backends["throughput"].calls
    assert (answer.status_code, call.path, call.body) == (200, dialect.path, content)
    assert answer.headers["x-venturi-effort"] == "none"


@pytest.mark.parametrize(
    ("path", "fields", "effort", "sent"),
    [
        (CHAT, {}, "high", {"reasoning_effort": "high", "temperature": 0.7}),
        ("/v1/responses", {"input": "hi"}, "medium", {"reasoning": {"effort": "high"}, "temperature": 0.7}),
        ("/v1/messages", CONVERSATION, "max", {"output_config": {"effort": "high"}, "temperature": 0.7}),
        ("/v1/messages/count_tokens", CONVERSATION, "max", {"output_config": {"effort": "high"}}),
        ("/tokenize", CONVERSATION, "high", {"chat_template_kwargs": {"reasoning_effort": "high"}}),
    ],
)
async def test_an_effort_by_header(
    path: str, fields: dict[str, Any], effort: str, sent: dict[str, Any]
) -> None:
    """A header chooses the pool in every dialect, and the body says it to vLLM, with its sampling."""
    parts = system({}, {"l1": (head("l1"), b"{}")})
    async with client(api(parts)) as http:
        answer = await http.post(path, json=fields, headers={"x-reasoning-effort": effort})
    ((_, call),) = parts.backends["latency"].calls
    assert json.loads(call.body) == fields | sent
    assert (answer.headers["x-venturi-pool"], answer.headers["x-venturi-effort"]) == ("latency", "high")


async def test_mistrals_own_words() -> None:
    """What Mistral's clients say in words of their own chooses the pool, and reaches vLLM in its words."""
    parts = system({}, {"l1": (head("l1"), b"{}")})
    said = {"prompt_mode": "reasoning", "random_seed": 7, "safe_prompt": False, "tool_choice": "any"}
    answer = await post(parts, json=body(**said))
    assert (answer.status_code, answer.headers["x-venturi-effort"]) == (200, "high")
    ((_, call),) = parts.backends["latency"].calls
    sent = json.loads(call.body)
    assert (sent["reasoning_effort"], sent["seed"], sent["tool_choice"]) == ("high", 7, "required")
    assert "random_seed" not in sent


async def test_an_effort_by_default() -> None:
    """When the operator's default is high, vLLM is told, and not only the router."""
    parts = system({}, {"l1": (head("l1"), b"{}")})
    model = MODEL.model_copy(update={"default_effort": Effort.HIGH})
    async with client(api(parts, model=model)) as http:
        await http.post(CHAT, json=body(temperature=0))
    ((_, call),) = parts.backends["latency"].calls
    assert json.loads(call.body) == body(temperature=0, reasoning_effort="high")


async def test_the_operators_system_prompt() -> None:
    """It is filled in with the day of the clock that the app was given."""
    parts = system({"t1": (head("t1"), b"{}")})
    model = MODEL.model_copy(update={"system_prompt": "{today}, {name}"})
    async with client(api(parts, model=model)) as http:
        await http.post(CHAT, json=body())
    ((_, call),) = parts.backends["throughput"].calls
    assert json.loads(call.body)["messages"][0] == {
        "role": "system",
        "content": "2026-03-01, mistral-small-4",
    }


def seen(url: str) -> dict[str, Any]:
    """Return a turn with an image."""
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


@pytest.fixture
def prompted() -> Model:
    """The model with an operator's system prompt, which goes in front of the client's turns."""
    return MODEL.model_copy(update={"system_prompt": "Be brief."})


async def test_an_image_behind_a_system_prompt(prompted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetched image takes its URL's place, wherever the defaults have moved its turn."""
    content = picture()

    async def fetch(*_: object) -> bytes:
        return content

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    parts = system({"t1": (head("t1"), b"{}")})
    async with client(api(parts, model=prompted)) as http:
        answer = await http.post(CHAT, json={"messages": [seen("https://example.com/a")]})
    assert answer.status_code == 200
    ((_, call),) = parts.backends["throughput"].calls
    url = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    assert json.loads(call.body)["messages"] == [{"role": "system", "content": "Be brief."}, seen(url)]


async def test_an_image_that_is_refused(prompted: Model) -> None:
    """The refusal names the part as the client has sent it, whatever the defaults would have added."""
    parts = system({"t1": OK})
    async with client(api(parts, model=prompted)) as http:
        answer = await http.post(CHAT, json={"messages": [seen("http://example.com/a")]})
    place = "messages.0.content.0.image_url.url"
    assert refusal(answer) == (400, "invalid_request_error", "invalid_value", place)
    assert parts.asked() == []


@pytest.mark.parametrize(
    ("throughput", "latency", "headers"),
    [
        ({"t1": (ReplicaLost("x"),), "t2": (head("t2"), b"{}")}, {}, ("throughput", "t2", "replica-failed")),
        ({}, {"l1": (head("l1"), b"{}")}, ("latency", "l1", "no-healthy-replica")),
        ({"t1": (PoolBusy("x"),)}, {"l1": (head("l1"), b"{}")}, ("latency", "l1", "no-healthy-replica")),
    ],
)
async def test_fallback(
    throughput: dict[str, tuple[Step, ...]],
    latency: dict[str, tuple[Step, ...]],
    headers: tuple[str, str, str],
) -> None:
    """When the first choice fails or is not there, another replica answers, and the reason says why."""
    answer = await post(system(throughput, latency, num_ongoing={"t2": 1}))
    assert (answer.status_code, venturi_headers(answer)) == (200, headers)


async def test_a_model_may_be_left_out() -> None:
    """There is one model, so a request need not name it."""
    assert (await post(system({"t1": (head("t1"), b"{}")}), json={"messages": []})).status_code == 200
