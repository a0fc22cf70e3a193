"""The gate with keys: who comes in, what the others get, and what is left behind."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import ConfigError
from serve_app.ingress import auth
from tests.serve_app.ingress.small import PROMPT, Small, bearer, ingress, refusal
from tests.serve_app.samples import cancel, until

KEY, OTHER, ADMIN = (auth.new_key() for _ in range(3))
TENANTS = f"""
tenants:
- {{name: search, keys: ["{auth.key_hash(KEY.encode())}"], requests_per_min: 4, tokens_per_min: 600,
   concurrent_requests: 2, efforts: [none], priority: 3}}
- {{name: admin, keys: ["{auth.key_hash(ADMIN.encode())}"]}}
"""


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


def rewrite(file: Path, content: str) -> None:
    """Write a file anew."""
    file.write_text(content)


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
