"""What does a client see when there is more to do than can be done?"""

import asyncio
from typing import Any

import httpx
import pytest

from serve_app.rules import Rules
from tests.serve_app.ingress.asking import CHAT, FREE, body, refusal
from tests.serve_app.samples import System, api, client, head, system, until

RULES = Rules(max_age_s=float("inf"), spill_over=False)


def one_place(max_queued: int) -> System:
    """Return a system whose throughput pool takes half a second for each request, one at a time."""
    script = {"t1": (0.5, head("t1"), b"{}")}
    return system(script, rules=RULES, max_num_seqs=1, max_queued=max_queued)


async def asked(
    http: httpx.AsyncClient, number: int, path: str = CHAT, **fields: Any
) -> list[httpx.Response]:
    """Ask so many times at once."""
    send = body(**fields)
    return list(await asyncio.gather(*(http.post(path, json=send) for _ in range(number))))


@pytest.mark.parametrize("stream", [False, True])
async def test_more_than_may_wait(stream: bool) -> None:
    """One is served, one waits and is served, the third is told before any byte when to come back."""
    parts = one_place(max_queued=1)
    async with client(api(parts)) as http:
        answers = await asked(http, 3, stream=stream)
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert refusal(answers[2]) == (503, "service_unavailable_error", "queue_full", None)
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60
    message = answers[2].json()["error"]["message"]
    assert message.startswith("1 requests wait for pool 'throughput', and no more may; come back in ")
    assert parts.num_leases() == FREE


async def test_in_anthropics_form() -> None:
    """The same in the other dialect: their clients know it as overloaded, and come back."""
    async with client(api(one_place(max_queued=0))) as http:
        answers = await asked(http, 2, "/v1/messages", max_tokens=5)
    assert answers[1].status_code == 503
    assert answers[1].json()["error"]["type"] == "overloaded_error"
    assert answers[1].headers["x-venturi-reason"] == "queue_full"
    assert "retry-after" in answers[1].headers


async def test_a_deadline() -> None:
    """A client that will not wait for its turn is told so at once."""
    parts = one_place(max_queued=9)
    async with client(api(parts)) as http:
        first = asyncio.ensure_future(http.post(CHAT, json=body()))
        await until(lambda: parts.asked() == ["t1"])
        hasty = {"x-stainless-read-timeout": "0.5"}
        answer = await http.post(CHAT, json=body(), headers=hasty)
        assert refusal(answer) == (503, "service_unavailable_error", "deadline_unreachable", None)
        assert "the client waits for 0.5 s" in answer.json()["error"]["message"]
        wrong = await http.post(CHAT, json=body(), headers={"x-stainless-read-timeout": "soon"})
        assert refusal(wrong) == (400, "invalid_request_error", "invalid_value", "x-stainless-read-timeout")
        assert (await first).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/tokenize"), ("POST", "/v1/chat/completions/render"), ("GET", "/openapi.json")],
)
async def test_what_samples_nothing_waits_for_nobody(method: str, path: str) -> None:
    """It takes no place in a batch."""
    parts = one_place(max_queued=0)
    async with client(api(parts)) as http:
        first = asyncio.ensure_future(http.post(CHAT, json=body()))
        await until(lambda: parts.asked() == ["t1"])
        assert (await http.request(method, path, json=body())).status_code == 200
        assert (await first).status_code == 200
