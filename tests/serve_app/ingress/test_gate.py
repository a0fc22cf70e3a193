"""The gate in front of a small app: who comes in, what the others get, and what is left behind."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serve_app.config import Ingress
from serve_app.errors import ApiError, ConfigError
from serve_app.ingress import auth
from serve_app.ingress.gate import Admission, Gate, Guarded
from serve_app.metrics import Metrics
from serve_app.types import NO_TENANT, Effort, Headers
from tests.serve_app.samples import Clock, cancel, until

KEY, OTHER, ADMIN = (auth.new_key() for _ in range(3))
PROMPT = "the colour of the hidden door"
TENANTS = f"""
tenants:
- {{name: search, keys: ["{auth.key_hash(KEY.encode())}"], requests_per_min: 4, tokens_per_min: 600,
   concurrent_requests: 2, efforts: [none], priority: 3}}
- {{name: admin, keys: ["{auth.key_hash(ADMIN.encode())}"]}}
"""


def bearer(key: str) -> dict[str, str]:
    """Return the header that OpenAI's clients send."""
    return {"authorization": f"Bearer {key}"}


def raw(headers: Mapping[str, str]) -> Headers:
    """Return headers as ASGI has them."""
    return tuple((name.encode(), value.encode()) for name, value in headers.items())


class Small:
    """A small app behind a gate: POST / answers at once, POST /slow once it is told to."""

    def __init__(self, settings: Ingress, listens_on: str) -> None:
        self.clock, self.metrics = Clock(), Metrics("ingress-1")
        self.gate = Gate(settings, listens_on, self.metrics, self.clock)
        self.go = asyncio.Event()
        self.admissions: list[Admission] = []
        routes = [
            Route("/", self._plain, methods=["POST"]),
            Route("/slow", self._slow, methods=["POST"]),
            Route("/health", self._health),
        ]
        app = Starlette(routes=routes, exception_handlers={ApiError: self._on_error})
        self.guarded = Guarded(app, gate=self.gate, guards=lambda path: path != "/health", refuse=_refusal)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.guarded, raise_app_exceptions=False),
            base_url="http://127.0.0.1",
        )

    async def post(self, path: str = "/", effort: str = "none", **request: Any) -> httpx.Response:
        """Send one prompt."""
        body = {"effort": effort, "prompt": PROMPT}
        return await self.http.post(path, **({"json": body} | request))

    def refused(self, tenant: str, code: str) -> float | None:
        """Return how many requests the metrics count as refused."""
        labels = {"tenant": tenant, "code": code}
        return self.metrics._registry.get_sample_value("venturi_refused_total", labels)

    def num_ongoing(self) -> dict[str, int]:
        """Return how many requests of each tenant are under way."""
        return {name: account.num_ongoing for name, account in self.gate._accounts.items()}

    async def _begin(self, request: Request) -> Admission:
        admission: Admission = request.state.admission
        self.admissions.append(admission)
        body = await request.body()
        admission.begin(Effort((await request.json())["effort"]), len(body))
        return admission

    async def _plain(self, request: Request) -> Response:
        admission = await self._begin(request)
        admission.charge(100)
        return PlainTextResponse(f"{admission.tenant} {admission.priority}")

    async def _slow(self, request: Request) -> Response:
        await self._begin(request)

        async def answer() -> AsyncIterator[bytes]:
            yield b"a"
            await self.go.wait()
            if "break" in request.query_params:
                raise RuntimeError("broken")
            yield b"b"

        return StreamingResponse(answer())

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("alive")

    async def _on_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return _refusal(request, error)


def _refusal(_: Request, error: ApiError) -> Response:
    return JSONResponse(error.body(), error.status, error.headers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A keys file."""
    path = tmp_path / "keys.yaml"
    path.write_text(TENANTS)
    return path


@pytest.fixture
def small(file: Path) -> Small:
    """The app with keys, reachable from everywhere."""
    return Small(ingress(keys_file=str(file)), "0.0.0.0")


def ingress(replicas: int = 1, **settings: object) -> Ingress:
    """Return an ingress with these settings of `auth`."""
    return Ingress.model_validate({"replicas": replicas, "auth": settings})


def rewrite(file: Path, content: str) -> None:
    """Write a file anew."""
    file.write_text(content)


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    """Return status, type and code of a refusal in OpenAI's shape."""
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["code"]


@pytest.mark.parametrize("headers", [bearer(KEY), {"x-api-key": KEY}, bearer(KEY) | {"x-api-key": KEY}])
async def test_with_a_key(small: Small, headers: dict[str, str]) -> None:
    """Whoever has a key comes in as its tenant; the answer says what is left, with the usage in it."""
    answer = await small.post(headers=headers)
    assert (answer.status_code, answer.text) == (200, "search 3")
    limits = {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit")}
    assert limits == {
        "x-ratelimit-limit-requests": "4",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "15s",
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "500",
        "x-ratelimit-reset-tokens": "10s",
    }
    assert small.num_ongoing() == {"search": 0, "admin": 0}


async def test_without_limits(small: Small) -> None:
    """A tenant without limits is held by none, and its answers promise none."""
    for _ in range(20):
        answer = await small.post(effort="high", headers=bearer(ADMIN))
        assert (answer.status_code, answer.text) == (200, "admin 0")
    assert not [name for name in answer.headers if "ratelimit" in name]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic eDp5"}, bearer(OTHER), {"x-api-key": "x"}])
async def test_without_a_key(small: Small, headers: dict[str, str]) -> None:
    """No key, or one that nobody has, is a 401 that says which form a key has."""
    answer = await small.post(headers=headers)
    assert refusal(answer) == (401, "authentication_error", "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert small.refused("-", "invalid_api_key") == 1
    assert small.admissions == []


async def test_two_keys(small: Small) -> None:
    """Two different keys are a 400, even if both are good."""
    answer = await small.post(headers=bearer(KEY) | {"x-api-key": ADMIN})
    assert refusal(answer) == (400, "invalid_request_error", "invalid_value")


async def test_the_body_is_not_read_before(small: Small) -> None:
    """Who is not let in cannot make the server read."""
    num_reads = 0

    async def read() -> dict[str, Any]:
        nonlocal num_reads
        num_reads += 1
        return {"type": "http.request", "body": b"{}"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
    await small.guarded(scope, read, send)
    assert (sent[0]["status"], num_reads) == (401, 0)


async def test_an_effort_that_is_not_allowed(small: Small) -> None:
    """A tenant gets 403 for an effort that is not its own, and its place is free again."""
    answer = await small.post(effort="high", headers=bearer(KEY))
    assert refusal(answer) == (403, "permission_error", "not_allowed")
    message = answer.json()["error"]["message"]
    assert message == "tenant 'search' may not use effort 'high'; it may use 'none'"
    assert small.refused("search", "not_allowed") == 1
    assert small.num_ongoing()["search"] == 0


async def test_too_many_requests(small: Small) -> None:
    """One more than the limit is a 429 with the time to wait; after that it passes. Others notice nothing."""
    small_answers = [await small.post(headers=bearer(KEY)) for _ in range(5)]
    assert [answer.status_code for answer in small_answers] == [200] * 4 + [429]
    refused = small_answers[-1]
    assert refusal(refused) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "15"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert (await small.post(headers=bearer(ADMIN))).status_code == 200
    small.clock.now_s += 15
    assert (await small.post(headers=bearer(KEY))).status_code == 200
    assert small.refused("search", "rate_limit_exceeded") == 1


async def test_too_many_tokens(small: Small) -> None:
    """A prompt that is more than what is left is a 429 as well, each header in it once."""
    assert (await small.post(headers=bearer(KEY))).status_code == 200
    body = {"effort": "none", "prompt": "x" * 2200}
    answer = await small.post(headers=bearer(KEY), json=body)
    assert refusal(answer) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert answer.headers["retry-after"] == "6"
    assert answer.headers.get_list("x-ratelimit-remaining-tokens") == ["500"]
    small.clock.now_s += 6
    assert (await small.post(headers=bearer(KEY), json=body)).status_code == 200


@pytest.mark.parametrize("how", ["end", "error", "cancel"])
async def test_a_place_is_free_again(small: Small, how: str) -> None:
    """However an answer ends, its tenant's place is free again; until then it is taken."""
    path = "/slow?break" if how == "error" else "/slow"
    both = [asyncio.create_task(small.post(path, headers=bearer(KEY))) for _ in range(2)]
    await until(lambda: small.num_ongoing()["search"] == 2)
    refused = await small.post(headers=bearer(KEY))
    assert refusal(refused) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "1"
    if how == "cancel":
        for task in both:
            await cancel(task)
    small.go.set()
    await asyncio.wait(both)
    assert small.num_ongoing()["search"] == 0
    for admission in small.admissions:
        admission.release()
    assert small.num_ongoing()["search"] == 0


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({f"x-{i}": "" for i in range(101)}, "headers; ingress.max_headers allows 100"),
        ({"x": "a" * 32768}, "bytes of headers; ingress.max_header_bytes allows 32768"),
    ],
)
async def test_too_many_headers(small: Small, headers: dict[str, str], message: str) -> None:
    """Headers over the limits are a 431 that names the setting, whoever sends them."""
    answer = await small.post(headers=bearer(KEY) | headers)
    assert refusal(answer) == (431, "invalid_request_error", "headers_too_large")
    assert message in answer.json()["error"]["message"]


async def test_what_is_not_guarded(small: Small) -> None:
    """Other paths need no key, and get no headers."""
    answer = await small.http.get("/health")
    assert (answer.status_code, answer.text) == (200, "alive")
    assert not [name for name in answer.headers if "ratelimit" in name]


async def test_a_new_keys_file(small: Small, file: Path) -> None:
    """A key that is taken away is of no use a second later; what was used of a limit stays used."""
    for _ in range(3):
        await small.post(headers=bearer(KEY))
    rewrite(file, TENANTS.replace("requests_per_min: 4", "requests_per_min: 3").replace("admin", "chat"))
    small.clock.now_s += 1
    answer = await small.post(headers=bearer(ADMIN))
    assert answer.text == "chat 0"
    assert (await small.post(headers=bearer(KEY))).headers["x-ratelimit-limit-requests"] == "3"
    assert (await small.post(headers=bearer(KEY))).status_code == 429
    rewrite(file, "tenants: []\n")
    small.clock.now_s += 1
    assert (await small.post(headers=bearer(ADMIN))).status_code == 401


async def test_replicas_share(file: Path) -> None:
    """Each of several ingress replicas lets its part of a limit pass."""
    small = Small(ingress(replicas=2, keys_file=str(file)), "0.0.0.0")
    answers = [await small.post(headers=bearer(KEY)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "300"


async def test_a_start_without_its_keys(tmp_path: Path) -> None:
    """A gate whose keys cannot be read is none."""
    with pytest.raises(ConfigError, match="No such file"):
        Small(ingress(keys_file=str(tmp_path / "no.yaml")), "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("127.9.9.9", 200),
        ("venturi.example.com", 403),
        ("127.0.0.1.example.com:8000", 403),
        ("localhost.example.com", 403),
        ("10.0.0.7:8000", 403),
        ("0.0.0.0:8000", 403),
        ("::1", 403),
        ("", 403),
    ],
)
async def test_without_keys_on_loopback(host: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Without keys this machine may, under its own name, whatever key it sends; a warning says so."""
    with caplog.at_level(logging.WARNING, "ray.serve"):
        small = Small(ingress(), "127.0.0.1")
    assert caplog.messages == ["no API keys: everyone on this machine may use the API at 127.0.0.1"]
    answer = await small.post(effort="high", headers=bearer("unused") | {"host": host})
    assert answer.status_code == status
    if status == 200:
        assert answer.text == f"{NO_TENANT} 0"
    else:
        assert "ingress.auth.keys_file" in answer.json()["error"]["message"]
        assert small.refused("-", "not_allowed") == 1


def test_two_hosts() -> None:
    """A request with two Host headers, or none, is nobody's on this machine."""
    gate = Small(ingress(), "127.0.0.1").gate
    for headers in ((), ((b"host", b"localhost"), (b"host", b"evil.example.com"))):
        with pytest.raises(ApiError, match="Host is not this machine's own"):
            gate.admit(headers)
    gate.admit(raw({"host": "localhost"})).release()


async def test_without_keys_on_the_network(caplog: pytest.LogCaptureFixture) -> None:
    """Without keys nobody may, where the network is listened to: not even this machine."""
    with caplog.at_level(logging.WARNING, "ray.serve"):
        small = Small(ingress(), "0.0.0.0")
    answer = await small.post()
    assert refusal(answer) == (403, "permission_error", "not_allowed")
    message = "no API keys are configured, and this server listens to the network"
    assert answer.json()["error"]["message"].startswith(message)
    (said,) = caplog.records
    assert (said.levelname, said.message.partition(":")[0]) == (
        "ERROR",
        "no API keys, and 0.0.0.0 is not loopback",
    )


async def test_open(caplog: pytest.LogCaptureFixture) -> None:
    """Everyone may where the settings say so, and the log warns of it."""
    with caplog.at_level(logging.WARNING, "ray.serve"):
        small = Small(ingress(open=True), "0.0.0.0")
    assert (await small.post(headers={"host": "venturi.example.com"})).text == f"{NO_TENANT} 0"
    assert caplog.messages == [
        "ingress.auth.open: everyone who reaches 0.0.0.0 may use the API, without a key"
    ]


async def test_nothing_is_told(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor the metrics nor the errors have a word of a key or a prompt, however it fails."""
    answers = []
    with caplog.at_level(logging.DEBUG):
        for headers in (bearer(KEY), bearer(OTHER), bearer(KEY) | {"x-api-key": OTHER}, {"x-api-key": OTHER}):
            answers += [await small.post(effort=effort, headers=headers) for effort in ("none", "high")]
        answers += [await small.post(headers=bearer(KEY)) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200, 400, 401, 403, 429}
    told = caplog.text + small.metrics.text([]).decode() + repr(small.gate._accounts)
    told += "".join(answer.text + str(answer.headers) for answer in answers)
    for secret in (KEY, OTHER, PROMPT, auth.key_hash(KEY.encode()), "hidden door"):
        assert secret not in told


async def test_names_in_the_metrics(small: Small) -> None:
    """However many keys are tried, the metrics have no more series than tenants and codes."""
    for _ in range(50):
        await small.post(headers=bearer(auth.new_key()))
    assert small.refused("-", "invalid_api_key") == 50
    assert small.metrics.text([]).decode().count("venturi_refused_total{") == 1
