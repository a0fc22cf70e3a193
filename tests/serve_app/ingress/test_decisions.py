"""The list of the last decisions: what is in it, for how long, and what is not."""

import json
from typing import Any

import httpx
import pytest

from serve_app.engine.scripted import OK, Step
from serve_app.errors import ReplicaLost
from serve_app.ingress.decisions import MAX_ID_LENGTH, NUM_KEPT
from tests.serve_app.ingress.asking import CHAT, EVENTS, SSE, body, refusal
from tests.serve_app.samples import api, client, head, system

SECRET = "the colour of the hidden door"


async def listed(http: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    """Return the list's entries."""
    answer = await http.get(f"/venturi/decisions{query}")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["object"], found["ingress"]) == ("list", "ingress-1")
    entries: list[dict[str, Any]] = found["data"]
    return entries


async def test_a_stream() -> None:
    """An entry says who decided what and why, what was predicted, and what came true."""
    script: tuple[Step, ...] = (head("l1", SSE), 0.02, EVENTS[0], 0.03, EVENTS[1])
    async with client(api(system({}, {"l1": script}))) as http:
        asked = body(reasoning_effort="high", stream=True)
        await http.post(CHAT, json=asked, headers={"x-request-id": "r-1"})
        (entry,) = await listed(http)
    predicted, measured = entry.pop("predicted"), entry.pop("measured")
    assert entry.pop("time_s") > 1.7e9
    assert entry == {
        "number": 1,
        "request_id": "r-1",
        "tenant": None,
        "route": CHAT,
        "effort": "high",
        "pool": "latency",
        "replica": "l1",
        "reason": "effort",
        "status": 200,
        "stream": True,
        "outcome": "complete",
        "tokens": {},
    }
    assert set(predicted) == {"wait_s", "ttft_s", "per_token_s", "total_s"}
    assert 0.02 <= measured["ttft_s"] < measured["ttft_s"] + 0.03 <= measured["total_s"] + 0.001


async def test_a_whole_answer_has_no_first_token() -> None:
    """What is measured of it is its whole time."""
    async with client(api(system({"t1": (head("t1"), b"{}")}))) as http:
        await http.post(CHAT, json=body())
        (entry,) = await listed(http)
    assert entry["measured"]["ttft_s"] is None
    assert entry["measured"]["total_s"] > 0


async def test_no_replica() -> None:
    """A request that nobody could serve is listed with the error's code, and no pool."""
    async with client(api(system({}))) as http:
        await http.post(CHAT, json=body())
        (entry,) = await listed(http)
    assert (entry["status"], entry["pool"], entry["replica"]) == (503, None, None)
    assert (entry["reason"], entry["predicted"]) == ("no_healthy_replica", None)


async def test_an_answer_that_breaks() -> None:
    """The pool that lost a whole answer is named, with the error."""
    async with client(api(system({"t1": (head("t1"), b"{", ReplicaLost("t1 died"))}))) as http:
        assert (await http.post(CHAT, json=body())).status_code >= 500
        (entry,) = await listed(http)
    assert (entry["pool"], entry["replica"], entry["reason"]) == ("throughput", "t1", "replica_lost")


async def test_what_was_not_understood_is_not_listed() -> None:
    """Bad bodies and other routes push nothing out of the list."""
    async with client(api(system({"t1": OK}))) as http:
        assert (await http.post(CHAT, content=b"{")).status_code == 400
        assert (await http.post(CHAT, json=body(reasoning_effort="medium"))).status_code == 400
        await http.get("/v1/models")
        assert await listed(http) == []


async def test_no_content() -> None:
    """Neither prompt nor answer is anywhere in it, and an id is cut."""
    async with client(api(system({"t1": (head("t1"), json.dumps({"answer": SECRET}).encode())}))) as http:
        asked = body(messages=[{"role": "user", "content": SECRET}])
        await http.post(CHAT, json=asked, headers={"x-request-id": "r" * 1000})
        (entry,) = await listed(http)
    assert SECRET not in json.dumps(entry)
    assert entry["request_id"] == "r" * MAX_ID_LENGTH


async def test_it_is_bounded_and_the_newest_come_first() -> None:
    """The oldest go; `limit` says how many are shown."""
    async with client(api(system({"t1": OK}))) as http:
        for _ in range(NUM_KEPT + 2):
            await http.post(CHAT, json=body())
        everything = await listed(http, f"?limit={NUM_KEPT}")
        newest = await listed(http, "?limit=2")
    numbers = [entry["number"] for entry in everything]
    assert numbers == list(range(NUM_KEPT + 2, 2, -1))
    assert [entry["number"] for entry in newest] == numbers[:2]


@pytest.mark.parametrize("limit", ["0", "301", "-1", "ten", "", "²", "9" * 5000])
async def test_a_bad_limit(limit: str) -> None:
    """It is refused, and both it and what is allowed are named."""
    async with client(api(system({}))) as http:
        answer = await http.get("/venturi/decisions", params={"limit": limit})
    assert refusal(answer)[0::3] == (400, "limit")
    assert f"limit={limit!r} must be a whole number from 1 to 300" in answer.json()["error"]["message"]
