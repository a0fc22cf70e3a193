"""Errors at the HTTP edge: whose fault, in whose shape, under which status, and nothing stays held."""

import json
from typing import Any

import pytest

from serve_app.config import Ingress
from serve_app.engine.scripted import OK, Step
from serve_app.errors import PoolBusy, ReplicaLost
from serve_app.router import waiting_room
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
from tests.serve_app.samples import api, client, head, system


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request that finds no replica wait for a moment only."""
    monkeypatch.setattr(waiting_room, "ABSENT_PATIENCE_S", 0.05)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/v1/messages", 404, "not_found_error"),
        ("POST", "/v1/messages/count_tokens", 404, "not_found_error"),
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("PUT", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/messages/count_tokens", 405, "invalid_request_error"),
        ("PUT", "/v1/messages/batches", 404, "not_found_error"),
    ],
)
async def test_anthropics_error_shape(method: str, path: str, status: int, kind: str) -> None:
    """Under /v1/messages every refusal has Anthropic's form: unknown models, routes and wrong methods."""
    async with client(api(system({}))) as http:
        answer = await http.request(method, path, json={"model": "gpt-9"})
    body = answer.json()
    message = body["error"].pop("message")
    assert (answer.status_code, body) == (status, {"type": "error", "error": {"type": kind}})
    assert isinstance(message, str)
    assert answer.headers["x-venturi-pool"] == "-"


async def test_what_vllm_refuses_in_anthropics_shape() -> None:
    """Of vLLM's own forms a client of messages sees neither, whole or as a stream's first event."""
    refused = b'{"error":{"message":"no","type":"Bad Request","param":"body.max_tokens","code":400}}'
    first = (
        b'event: error\ndata: {"type":"error","error":{"type":"invalid_request_error","message":"no"}}\n\n'
    )
    for script in ((head("t1", status=400), refused), (head("t1", SSE), first)):
        parts = system({"t1": script})
        async with client(api(parts)) as http:
            answer = await http.post("/v1/messages", json=CONVERSATION)
        assert answer.status_code == 400
        assert answer.json() == {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
        assert parts.num_leases() == FREE


async def test_a_stream_that_breaks() -> None:
    """A replica lost after the first byte ends the stream in an error event without [DONE]; it is counted."""
    parts = system({"t1": (head("t1", SSE), EVENTS[0], ReplicaLost("gone"))})
    answer = await post(parts, json=body(stream=True))
    assert answer.status_code == 200
    assert answer.content.startswith(EVENTS[0])
    assert b"[DONE]" not in answer.content
    assert json.loads(answer.content.split(b"data: ")[-1])["error"]["code"] == "replica_lost"
    assert parts.counted("venturi_broken_streams_total", pool="throughput", code="replica_lost") == 1
    assert parts.num_leases() == FREE


@pytest.mark.parametrize(
    ("path", "named"), [("/v1/messages", "api_error"), ("/v1/responses", "replica_lost")]
)
async def test_other_streams_that_break(path: str, named: str) -> None:
    """Messages and responses end in an error event of their own."""
    begun = b"event: begun\ndata: {}\n\n"
    parts = system({"t1": (head("t1", SSE), begun, ReplicaLost("gone"))})
    async with client(api(parts)) as http:
        answer = await http.post(path, json={"stream": True})
    assert answer.content.startswith(begun + b"\n\nevent: error\ndata: ")
    event = json.loads(answer.content.split(b"data: ")[-1])
    assert event["type"] == "error"
    assert named in (event.get("code"), event.get("error", {}).get("type"))
    assert parts.counted("venturi_broken_streams_total", pool="throughput", code="replica_lost") == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
    ],
)
async def test_responses_are_not_kept(method: str, path: str) -> None:
    """Whoever asks for a stored response hears that there are none, and why."""
    async with client(api(system({}))) as http:
        answer = await http.request(method, path)
    assert refusal(answer) == (400, "invalid_request_error", "unsupported", "response_id")
    assert "not stored" in answer.json()["error"]["message"]


async def test_the_engines_own_refusal() -> None:
    """A 400 of the engine passes through unchanged: no retry, no rewriting."""
    refused = b'{"error":{"message":"bad temperature","type":"BadRequestError","param":null,"code":400}}'
    parts = system({"t1": (head("t1", status=400), refused), "t2": OK}, num_ongoing={"t2": 1})
    answer = await post(parts)
    assert (answer.status_code, answer.content) == (400, refused)
    assert venturi_headers(answer) == ("throughput", "t1", "effort")
    assert parts.asked() == ["t1"]


async def test_a_stream_that_opens_with_a_refusal() -> None:
    """A 400 that the engine says in its first event is a 400 to the client, and holds nothing."""
    refused = b'{"error":{"message":"bad tool","type":"BadRequestError","param":null,"code":400}}'
    parts = system({"t1": (head("t1", SSE), b"data: " + refused + b"\n\n", b"data: [DONE]\n\n")})
    answer = await post(parts, json=body(stream=True))
    assert (answer.status_code, answer.content) == (400, refused)
    assert answer.headers["content-type"] == "application/json"
    assert venturi_headers(answer) == ("throughput", "t1", "effort")
    assert parts.num_leases() == FREE


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"json": body(reasoning_effort="medium")}, (400, "invalid_value", "reasoning_effort")),
        ({"headers": {"x-reasoning-effort": "low"}}, (400, "invalid_value", "x-reasoning-effort")),
        (
            {"json": body(reasoning_effort="none"), "headers": {"x-reasoning-effort": "high"}},
            (400, "invalid_value", "x-reasoning-effort"),
        ),
        ({"json": body(store=True)}, (400, "unsupported", "store")),
        ({"json": body(safe_prompt=True)}, (400, "unsupported", "safe_prompt")),
        ({"json": body(seed=1, random_seed=2)}, (400, "invalid_value", "random_seed")),
        ({"json": body(stream=1)}, (400, "invalid_value", "stream")),
        ({"json": body(stream="true")}, (400, "invalid_value", "stream")),
        (
            {"json": body(stream=True, stream_options={"include_usage": "no"})},
            (400, "invalid_value", "stream_options.include_usage"),
        ),
        (
            {"headers": [("x-reasoning-effort", "none"), ("x-reasoning-effort", "high")]},
            (400, "invalid_value", "x-reasoning-effort"),
        ),
        (
            {"json": None, "content": b'{"chat_template_kwargs":{"\\ud800":1}}'},
            (400, "invalid_value", "chat_template_kwargs.\ud800"),
        ),
        ({"json": body(reasoning_effort=1)}, (400, "invalid_value", "reasoning_effort")),
        ({"json": None, "content": b'{"model":'}, (400, "invalid_value", "body")),
        ({"json": [1]}, (400, "invalid_value", "body")),
        ({"json": body(model="gpt-9")}, (404, "model_not_found", "model")),
        ({"json": body(model=["a"])}, (404, "model_not_found", "model")),
        ({"json": None, "content": b'{"model":"\\ud800"}'}, (404, "model_not_found", "model")),
        ({"json": body(pad="x" * 1000)}, (413, "body_too_large", "body")),
    ],
)
async def test_a_clients_mistake(request_: dict[str, Any], error: tuple[int, str, str]) -> None:
    """What cannot be served is refused in OpenAI's shape before any replica hears of it, and counted."""
    parts = system({"t1": OK}, {"l1": OK})
    answer = await post(parts, Ingress(max_body_bytes=1000), **request_)
    status, code, param = error
    assert refusal(answer) == (status, "invalid_request_error", code, param)
    assert parts.asked() == []
    assert parts.counted("venturi_errors_total", status=str(status), code=code) == 1


async def test_an_unknown_model_names_the_known() -> None:
    """A client that asks for another model learns which there are."""
    answer = await post(system({"t1": OK}), json=body(model="gpt-9"))
    assert answer.json()["error"]["message"] == (
        "model 'gpt-9' is not served here; model must be one of 'mistral-small-4', 'small'"
    )


@pytest.mark.parametrize(
    ("scripts", "error"),
    [
        ({}, (503, "service_unavailable_error", "no_healthy_replica", None)),
        ({"t1": (PoolBusy("full"),)}, (503, "service_unavailable_error", "pool_busy", None)),
        ({"t1": (ReplicaLost("gone"),)}, (502, "server_error", "replica_lost", None)),
        ({"t1": (head("t1"), b"{", ReplicaLost("gone"))}, (502, "server_error", "replica_lost", None)),
        ({"t1": (10.0,)}, (504, "timeout_error", "answer_timeout", None)),
        ({"t1": (head("t1"), 10.0)}, (504, "timeout_error", "answer_timeout", None)),
        ({"t1": (ZeroDivisionError("secret"),)}, (500, "server_error", "internal_error", None)),
        ({"t1": (head("t1"), ZeroDivisionError("secret"))}, (500, "server_error", "internal_error", None)),
    ],
)
async def test_a_servers_mistake(
    scripts: dict[str, tuple[Step, ...]], error: tuple[int, str, str, str | None]
) -> None:
    """What goes wrong on our side has its status too, tells nothing of our insides, and holds nothing."""
    parts = system(scripts)
    answer = await post(parts, Ingress(request_timeout_s=0.1 if error[0] == 504 else 60))
    assert refusal(answer) == error
    assert "secret" not in answer.text
    assert parts.num_leases() == FREE


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "message"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url", "GET /v1/nothing: Not Found"),
        ("POST", "/", 404, "unknown_url", "POST /: Not Found"),
        ("GET", "/metrics/", 404, "unknown_url", "GET /metrics/: Not Found"),
        ("POST", f"{CHAT}/", 404, "unknown_url", f"POST {CHAT}/: Not Found"),
        ("GET", CHAT, 405, "method_not_supported", f"GET {CHAT}: Method Not Allowed"),
    ],
)
async def test_unknown_routes(method: str, path: str, status: int, code: str, message: str) -> None:
    """Routes and methods that are not there are refused in OpenAI's shape, and counted."""
    parts = system({})
    async with client(api(parts)) as http:
        answer = await http.request(method, path)
    assert refusal(answer) == (status, "invalid_request_error", code, None)
    assert answer.json()["error"]["message"] == message
    assert parts.counted("venturi_errors_total", status=str(status), code=code) == 1


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_a_wrong_method_names_the_right_one(path: str) -> None:
    """A 405 has the Allow header that HTTP asks for."""
    async with client(api(system({}))) as http:
        assert (await http.get(path)).headers["allow"] == "POST"
