"""The HTTP edge over scripted replicas: routes, headers, error shapes, and clients that leave."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve_app.config import Ingress, Model
from serve_app.engine.scripted import OK, Step
from serve_app.errors import PoolBusy, ReplicaLost
from serve_app.ingress.dialects import DIALECTS, Dialect
from serve_app.ingress.fetch import Fetcher
from serve_app.router import dispatch
from serve_app.types import Effort
from tests.serve_app.ingress.web import picture
from tests.serve_app.samples import MODEL, System, api, cancel, client, head, system, until

CHAT = "/v1/chat/completions"
SSE = "text/event-stream; charset=utf-8"
EVENTS = (b'data: {"n":1}\n\n', b"data: [DONE]\n\n")
FREE = {"throughput": 0, "latency": 0}


def body(**fields: object) -> dict[str, Any]:
    """Return a chat body with these fields."""
    return {"model": "mistral-small-4", "messages": [{"role": "user", "content": "hi"}], **fields}


async def post(parts: System, limits: Ingress | None = None, **request: Any) -> httpx.Response:
    """Send one chat request to a system."""
    async with client(api(parts, limits=limits)) as http:
        return await http.post(CHAT, **({"json": body()} | request))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request that finds no replica wait for a moment only."""
    monkeypatch.setattr(dispatch, "ABSENT_PATIENCE_S", 0.05)


def venturi_headers(answer: httpx.Response) -> tuple[str, str, str]:
    """Return pool, replica and reason of an answer."""
    names = ("pool", "replica", "reason")
    pool, replica, reason = (answer.headers[f"x-venturi-{name}"] for name in names)
    return pool, replica, reason


def refusal(answer: httpx.Response) -> tuple[int, str, str, str | None]:
    """Return status, type, code and param of an error; check that its shape is OpenAI's."""
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert venturi_headers(answer) == ("-", "-", error["code"])
    return answer.status_code, error["type"], error["code"], error["param"]


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
    assert parts.counted("venturi_time_to_first_byte_seconds_count", pool=pool, effort=_effort(pool)) == 1


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


CONVERSATION = {"messages": [{"role": "user", "content": "hi"}]}


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


async def test_a_model_may_be_left_out() -> None:
    """There is one model, so a request need not name it."""
    assert (await post(system({"t1": (head("t1"), b"{}")}), json={"messages": []})).status_code == 200


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


async def test_models() -> None:
    """Every name of the model is listed, and has a card of its own; others are unknown."""
    async with client(api(system({}))) as http:
        listed = (await http.get("/v1/models")).json()
        cards = {card["id"]: card for card in listed["data"]}
        assert listed["object"] == "list"
        assert list(cards) == ["mistral-small-4", "small"]
        assert {(c["object"], c["owned_by"], c["root"]) for c in cards.values()} == {
            ("model", "venturi", "mistral-small-4")
        }
        assert (await http.get("/v1/models/small")).json() == cards["small"]
        unknown = await http.get("/v1/models/org/other")
    assert refusal(unknown) == (404, "invalid_request_error", "model_not_found", "model")
    assert "'org/other'" in unknown.json()["error"]["message"]


async def test_health_needs_no_replica() -> None:
    """The ingress lives, whatever the pools do."""
    async with client(api(system({}))) as http:
        answer = await http.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("latency", "status", "answer"),
    [
        (
            {"l1": OK},
            200,
            {
                "status": "ready",
                "efforts_without_replica": [],
                "healthy_replicas": {"throughput": 2, "latency": 1},
            },
        ),
        (
            {},
            503,
            {
                "status": "not ready",
                "efforts_without_replica": ["high"],
                "healthy_replicas": {"throughput": 2, "latency": 0},
            },
        ),
    ],
)
async def test_ready(latency: dict[str, tuple[Step, ...]], status: int, answer: dict[str, Any]) -> None:
    """Ready means that each effort's own pool has a replica; spilling over is not enough."""
    async with client(api(system({"t1": OK, "t2": OK}, latency))) as http:
        found = await http.get("/ready")
    assert (found.status_code, found.json()) == (status, answer)


async def test_metrics() -> None:
    """One page has our own series, labelled with the ingress, and the engines', with pool and replica."""
    parts = system({"t1": (head("t1"), b"{}")}, {"l1": OK})
    text = b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine="0"} '
    parts.backends["throughput"].texts = {"t1": text + b"3\n"}
    parts.backends["latency"].texts = {"l1": text + b"5\n"}
    async with client(api(parts)) as http:
        await http.post(CHAT, json=body())
        page = await http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }
    running = "vllm:num_requests_running"
    assert found[running, (("engine", "0"), ("pool", "throughput"), ("replica", "t1"))] == 3
    assert found[running, (("engine", "0"), ("pool", "latency"), ("replica", "l1"))] == 5
    assert found["venturi_healthy_replicas", (("ingress", "ingress-1"), ("pool", "throughput"))] == 1
    decided = (("effort", "none"), ("ingress", "ingress-1"), ("pool", "throughput"), ("reason", "effort"))
    assert found["venturi_decisions_total", decided] == 1


async def test_the_lifespan_ends_with_the_app() -> None:
    """When the app goes, nobody asks the replicas any more."""
    num_reports = 0

    def count() -> None:
        nonlocal num_reports
        num_reports += 1

    parts = system({"t1": OK}, period_s=0.001)
    parts.backends["throughput"].on_reports = count
    async with client(api(parts)):
        await until(lambda: num_reports > 3)
    await asyncio.sleep(0.01)
    after = num_reports
    await asyncio.sleep(0.02)
    assert num_reports == after


class Connection:
    """One HTTP connection to an app, of which the client can let go at any moment."""

    def __init__(self, *, fail_on: str = "") -> None:
        self.gone = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self._fail_on = fail_on
        self._content: bytes | None = json.dumps(body(stream=True)).encode()

    async def receive(self) -> dict[str, Any]:
        """Give the body; then, once the client has left, the disconnect."""
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message, or fail as a connection that is closed."""
        if message["type"] == self._fail_on:
            raise OSError("the connection is closed")
        self.sent.append(message)

    async def run(self, app: Any, spec_version: str) -> None:
        """Send the request."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "method": "POST",
            "path": CHAT,
            "raw_path": CHAT.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "root_path": "",
        }
        await app(scope, self.receive, self.send)

    @property
    def status(self) -> int | None:
        """The status that the client would have seen."""
        return self.sent[0]["status"] if self.sent else None


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param((10.0, head("t1")), 499, id="before the head"),
        pytest.param((head("t1"), b"{", 10.0), 499, id="within a whole answer"),
        pytest.param((head("t1", SSE), EVENTS[0], 10.0), 200, id="within a stream"),
    ],
)
async def test_a_client_that_leaves(script: tuple[Step, ...], status: int) -> None:
    """Whenever a client leaves, the engine stops, and the replica is free again."""
    parts = await system({"t1": script}).refresh()
    connection = Connection()
    task = asyncio.create_task(connection.run(api(parts), "2.3"))
    await until(lambda: parts.num_leases()["throughput"] == 1)
    await asyncio.sleep(0.02)
    connection.gone.set()
    await asyncio.wait_for(task, 1)
    assert connection.status == status
    assert parts.num_leases() == FREE
    assert parts.num_cancels() == 1


@pytest.mark.parametrize("fail_on", ["http.response.start", "http.response.body"])
@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_connection_that_breaks(fail_on: str, spec_version: str) -> None:
    """A server that cannot deliver, not even the head, frees the replica all the same."""
    parts = await system({"t1": (head("t1", SSE), *EVENTS, 10.0)}).refresh()
    with pytest.raises(Exception):  # noqa: B017, PT011 - Starlette names it by the spec version
        await Connection(fail_on=fail_on).run(api(parts), spec_version)
    await until(lambda: parts.num_leases() == FREE)
    assert parts.num_cancels() == 1


@pytest.mark.parametrize("content_type", ["application/json", SSE])
@pytest.mark.parametrize("num_ticks", range(30))
async def test_a_handler_that_is_cancelled(content_type: str, num_ticks: int) -> None:
    """Serve cancels the handler of a client that left: at whichever turn of the loop, nothing stays held."""
    parts = await system({"t1": (head("t1", content_type), 0.0, *EVENTS)}).refresh()
    task = asyncio.create_task(Connection().run(api(parts), "2.3"))
    for _ in range(num_ticks):
        await asyncio.sleep(0)
    await cancel(task)
    assert parts.num_leases() == FREE
