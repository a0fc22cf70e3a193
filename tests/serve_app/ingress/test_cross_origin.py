"""Pages of other sites: what a browser asks before they may use the API, and what it lets them read."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.config import Ingress
from serve_app.engine.scripted import OK
from serve_app.ingress.auth import key_hash
from tests.serve_app.ingress.asking import CHAT, EVENTS, SSE, body
from tests.serve_app.ingress.small import bearer
from tests.serve_app.samples import api, client, head, system

SITE, OTHER_SITE = "https://chat.example.com", "https://other.example.com"
KEY = "sk-search"
KEYS = (
    f"tenants:\n- {{name: search, keys: ['{key_hash(KEY.encode())}'], requests_per_min: 2, operator: true}}\n"
)
ALLOWED = "access-control-allow-origin"


def open_to(*origins: str, **more: object) -> Ingress:
    """Return an ingress that pages of these sites may use."""
    return Ingress.model_validate({"allowed_origins": origins, **more})


async def preflight(http: httpx.AsyncClient, path: str = CHAT, **headers: str) -> httpx.Response:
    """Ask what a browser asks before it sends a POST with a key and one header that is not ours."""
    wanted = "authorization,content-type,x-stainless-lang"
    asked = {"access-control-request-method": "POST", "access-control-request-headers": wanted}
    return await http.options(path, headers={"origin": SITE} | asked | headers)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    """Return settings with a key that two requests a minute may be made with."""
    path = tmp_path / "keys.yaml"
    path.write_text(KEYS)
    return {"auth": {"keys_file": str(path)}}


async def test_a_page_with_a_key(keys: dict[str, Any]) -> None:
    """Preflights need no key and count for nothing; every answer can be read, with all its headers."""
    async with client(api(system({"t1": OK}), limits=open_to(SITE, **keys))) as http:
        for _ in range(5):
            asked = await preflight(http)
            assert (asked.status_code, asked.headers[ALLOWED]) == (200, SITE)
            assert "POST" in asked.headers["access-control-allow-methods"]
            assert (
                asked.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-lang"
            )
            assert "access-control-allow-credentials" not in asked.headers
        page = {"origin": SITE}
        without = await http.post(CHAT, json=body(), headers=page)
        answers = [await http.post(CHAT, json=body(), headers=page | bearer(KEY)) for _ in range(3)]
    assert [answer.status_code for answer in (without, *answers)] == [401, 200, 200, 429]
    for answer in (without, *answers):
        assert answer.headers[ALLOWED] == SITE
        assert answer.headers["access-control-expose-headers"] == "*"
        assert "Origin" in answer.headers["vary"]
    assert "retry-after" in answers[-1].headers


async def test_errors_and_streams_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the header a browser hides an error from its page, a bug of ours included."""
    parts = system({"t1": (head("t1", SSE), *EVENTS)})
    page = {"origin": SITE}
    async with client(api(parts, limits=open_to(SITE, max_body_bytes=1000))) as http:
        answers = [
            await http.get("/v1/models", headers=page),
            await http.post(CHAT, json=body(stream=True), headers=page),
            await http.post(CHAT, content=b" " * 1001, headers=page),
            await http.post("/v1/nothing", headers=page),
            await http.get(CHAT, headers=page),
        ]

        async def broken(*_: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(parts.router, "route", broken)
        answers.append(await http.post("/v1/messages", json=body(max_tokens=1), headers=page))
    assert [answer.status_code for answer in answers] == [200, 200, 413, 404, 405, 500]
    assert [answer.headers.get(ALLOWED) for answer in answers] == [SITE] * 6


async def test_other_sites() -> None:
    """Their preflights fail, and what their pages get says nothing that would let them read it."""
    async with client(api(system({"t1": OK}), limits=open_to(SITE))) as http:
        asked = await preflight(http, origin=OTHER_SITE)
        got = await http.get("/v1/models", headers={"origin": OTHER_SITE})
        own = await http.get("/v1/models")
    assert asked.status_code == 400
    assert (got.status_code, own.status_code) == (200, 200)
    assert [ALLOWED in answer.headers for answer in (asked, got, own)] == [False] * 3


async def test_every_site() -> None:
    """Of '*' nothing depends on who asks."""
    async with client(api(system({"t1": OK}), limits=open_to("*"))) as http:
        asked, got = await preflight(http), await http.post(CHAT, json=body(), headers={"origin": SITE})
    assert (asked.status_code, got.status_code) == (200, 200)
    assert (asked.headers[ALLOWED], got.headers[ALLOWED]) == ("*", "*")


@pytest.mark.parametrize("path", ["/venturi/pools", "/metrics", "/health", "/ready", "/console/"])
async def test_what_is_not_for_pages(path: str) -> None:
    """What operators, probes and the console ask is for no other site's pages."""
    async with client(api(system({"t1": OK}), limits=open_to("*"))) as http:
        asked, got = await preflight(http, path), await http.get(path, headers={"origin": SITE})
    assert asked.status_code == 405
    assert not [name for name in (*asked.headers, *got.headers) if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/tokenize", "/openapi.json", "/v1/models/small", "/v1/responses/resp_1"])
async def test_what_is_the_api(path: str) -> None:
    """All that a client of the API asks."""
    async with client(api(system({"t1": OK}), limits=open_to(SITE))) as http:
        assert (await preflight(http, path)).headers[ALLOWED] == SITE


async def test_nobody_unless_they_are_named() -> None:
    """By default a preflight is a wrong method."""
    async with client(api(system({"t1": OK}))) as http:
        asked = await preflight(http)
    assert (asked.status_code, ALLOWED in asked.headers) == (405, False)
