"""What becomes of either effort when both are asked for more than can be served in time?"""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from serve_app.local import LocalSystem
from tests.e2e.metrics import total

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

PLACES = 64
"""Of the throughput pool in deploy/local.yaml; the latency pool has 8."""
NUM_NONE, NUM_HIGH = 4 * PLACES, 12
NUM_TOKENS = 64
PATIENCE = 1.5
"""Of those in a hurry: how long they wait, in the time that a full pool takes for its answers."""


def body(effort: str, num_tokens: int) -> dict[str, Any]:
    """Return a request for an answer of exactly so many tokens."""
    turn = {"role": "user", "content": "Go on for ever."}
    exact = {"max_tokens": num_tokens, "min_tokens": num_tokens, "temperature": 0}
    return {"messages": [turn], "reasoning_effort": effort, **exact}


async def overload(url: str) -> tuple[list[httpx.Response], list[httpx.Response]]:
    """Ask everything at once: none in a hurry, high with all the time in the world.

    What a hurry is depends on the machine, so a full pool is timed first.
    """
    limits = httpx.Limits(max_connections=NUM_NONE + NUM_HIGH)
    async with httpx.AsyncClient(base_url=url, timeout=240, limits=limits) as http:

        async def ask(effort: str, num_tokens: int, **headers: str) -> httpx.Response:
            return await http.post("/v1/chat/completions", json=body(effort, num_tokens), headers=headers)

        began_s = time.monotonic()
        await asyncio.gather(*(ask("none", NUM_TOKENS) for _ in range(PLACES)))
        hasty = {"x-stainless-read-timeout": f"{PATIENCE * (time.monotonic() - began_s):.2f}"}
        none = asyncio.gather(*(ask("none", NUM_TOKENS, **hasty) for _ in range(NUM_NONE)))
        high = asyncio.gather(*(ask("high", 16) for _ in range(NUM_HIGH)))
        return await none, await high


def test_overload(system: LocalSystem, http: httpx.Client) -> None:
    """Every high is answered; of none, those that would be late are told at once when to come back.

    Nobody is left without an answer, and after it all is as it was.
    """
    shed_before = total(http, "venturi_sheds_total", may_lack=True, effort="none")
    none, high = asyncio.run(overload(system.file.url))
    print(Counter((answer.status_code, answer.headers["x-venturi-reason"]) for answer in (*none, *high)))
    assert [answer.status_code for answer in high] == [200] * NUM_HIGH
    answered = [answer for answer in none if answer.status_code == 200]
    shed = [answer for answer in none if answer.status_code == 503]
    assert len(answered) + len(shed) == NUM_NONE
    assert answered
    assert shed
    for answer in shed:
        assert answer.json()["error"]["code"] == answer.headers["x-venturi-reason"] == "deadline_unreachable"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert total(http, "venturi_sheds_total", effort="none") == shed_before + len(shed)
    assert total(http, "venturi_sheds_total", may_lack=True, effort="high") == 0
    assert total(http, "venturi_queue_depth") == 0
    assert http.post("/v1/chat/completions", json=body("none", 4)).status_code == 200
