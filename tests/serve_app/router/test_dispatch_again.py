"""Trying again: how often, how many replicas one request may take down, and whom the breakers blame."""

import asyncio
from contextlib import suppress

import pytest

from serve_app.engine.scripted import OK, Step
from serve_app.errors import FloorKept, PoolBusy, ReplicaLost
from serve_app.pools.breaker import NUM_FAILURES, OPEN_S
from serve_app.router.dispatch import Answer
from serve_app.router.retry_budget import BURST
from serve_app.rules import Admission, Rules
from serve_app.types import Effort, Head, RequestFeatures
from tests.serve_app.samples import CALL, System, cancel, gather, head, system, until

NONE, HIGH = RequestFeatures(Effort.NONE), RequestFeatures(Effort.HIGH)
LOST = (ReplicaLost("gone"),)
BROKEN: tuple[Step, ...] = (head("?", status=500), b'{"error": "boom"}')
RULES = Rules(max_age_s=float("inf"), targets={})


async def route(parts: System, features: RequestFeatures = NONE) -> int:
    """Ask once, with fresh reports; return the answer's status."""
    await parts.refresh()
    answer = await parts.router.route(features, CALL)
    await gather(answer.body())
    return answer.head.status


async def replicas(scripts: dict[str, tuple[Step, ...]], rules: Rules = RULES) -> System:
    """Return a system in whose throughput pool the first replica is always the best."""
    loads = {name: 20 * number for number, name in enumerate(scripts)}
    return await system(scripts, rules=rules, num_ongoing=loads, max_num_seqs=64).refresh()


async def test_one_request_takes_no_more_than_two_replicas_down() -> None:
    """What kills two might kill them all: the third is never asked."""
    parts = await replicas({"t1": LOST, "t2": LOST, "t3": OK})
    with pytest.raises(ReplicaLost):
        await parts.router.route(NONE, CALL)
    assert parts.asked() == ["t1", "t2"]
    assert parts.counted("venturi_retries_denied_total", pool="throughput", reason="attempts") == 1
    assert parts.num_leases()["throughput"] == 0


async def test_a_busy_pool_takes_nothing_down() -> None:
    """Refusals for load do not count."""
    busy = (PoolBusy("full"),)
    parts = await replicas({"t1": busy, "t2": busy, "t3": OK})
    assert await route(parts) == 200


async def test_the_budget() -> None:
    """A few retries, then a share of the requests: what fails everywhere is not made twice the load."""
    parts = await replicas({"t1": LOST, "t2": LOST}, Rules(admission=Admission(retry_share=0.1)))
    num_requests = 50
    for _ in range(num_requests):
        with pytest.raises(ReplicaLost):
            await route(parts)
    num_retries = len(parts.asked()) - num_requests
    assert num_retries == BURST + num_requests * 0.1 - 1
    assert parts.counted("venturi_retries_denied_total", pool="throughput", reason="budget") > 0


async def test_a_server_error_is_tried_again() -> None:
    """Before the first byte, like a replica that is lost."""
    parts = await replicas({"t1": BROKEN, "t2": OK})
    assert await route(parts) == 200
    assert parts.asked() == ["t1", "t2"]
    assert parts.num_leases()["throughput"] == 0


@pytest.mark.parametrize("scripts", [{"t1": BROKEN}, {"t1": BROKEN, "t2": BROKEN, "t3": OK}])
async def test_the_engines_own_words(scripts: dict[str, tuple[Step, ...]]) -> None:
    """Where nobody else is to be asked, the client hears what the engine said."""
    parts = await replicas(scripts)
    answer = await parts.router.route(NONE, CALL)
    assert answer.head.status == 500
    assert await gather(answer.body()) == [b'{"error": "boom"}']


async def test_a_client_error_is_an_answer() -> None:
    """It is neither tried again nor anybody's fault here."""
    parts = await replicas({"t1": (head("t1", status=400), b"{}"), "t2": OK})
    for _ in range(2 * NUM_FAILURES):
        assert await route(parts) == 400
    assert set(parts.asked()) == {"t1"}
    assert parts.pools["throughput"].num_broken == 0


@pytest.mark.parametrize("failure", [LOST, BROKEN], ids=["lost", "500"])
async def test_who_fails_what_others_answer_rests(failure: tuple[Step, ...]) -> None:
    """After a few in a row its breaker opens: nobody goes there for a while, then one, and then all again."""
    parts = await replicas({"t1": failure, "t2": OK})
    for _ in range(NUM_FAILURES + 2):
        assert await route(parts) == 200
    assert parts.asked().count("t1") == NUM_FAILURES
    assert parts.router.num_healthy()["throughput"] == 1
    assert parts.counted("venturi_breaker_openings_total", pool="throughput") == 1
    await parts.refresh()
    assert parts.counted("venturi_breakers_open", pool="throughput") == 1

    parts.clock.now_s += OPEN_S
    parts.backends["throughput"].replicas["t1"] = OK
    for _ in range(2):
        assert await route(parts) == 200
    assert parts.asked().count("t1") == NUM_FAILURES + 2
    await parts.refresh()
    assert parts.counted("venturi_breakers_open", pool="throughput") == 0


@pytest.mark.parametrize("failure", [LOST, BROKEN], ids=["lost", "500"])
async def test_a_request_that_fails_everywhere_is_to_blame_itself(failure: tuple[Step, ...]) -> None:
    """However often it comes, no breaker opens."""
    parts = await replicas({"t1": failure, "t2": failure, "t3": failure})
    for _ in range(4 * NUM_FAILURES):
        await parts.refresh()
        with suppress(ReplicaLost):
            (await parts.router.route(NONE, CALL)).release()
    assert parts.pools["throughput"].num_broken == 0
    assert parts.counted("venturi_breaker_openings_total", pool="throughput") == 0


async def test_a_floor_is_kept() -> None:
    """With home down and the other pool's floor reached, the refusal says when to come back."""
    busy = {"l1": 2}
    parts = system({}, {"l1": (head("l1"), b"{}")}, rules=RULES, num_ongoing=busy, max_num_seqs=4)
    await parts.refresh()
    with pytest.raises(FloorKept, match="come back in 5 s") as refused:
        await parts.router.route(NONE, CALL)
    assert refused.value.headers["retry-after"] == "5"
    assert (await parts.router.route(HIGH, CALL)).head == Head(200, head("l1").headers)


async def test_who_fails_at_once_does_not_get_the_next_request_too() -> None:
    """Nothing of it is left in its batch, so it would look best: it is left alone until it reports again."""
    parts = await replicas({"t1": BROKEN, "t2": (0.05, *OK)})
    first, second = await asyncio.gather(
        parts.router.route(NONE, CALL), asyncio.create_task(_later(parts, 0.02))
    )
    assert [first.head.status, second.head.status] == [200, 200]
    assert parts.asked() == ["t1", "t2", "t2"]
    assert await route(parts) == 200
    assert parts.asked().count("t1") == 2


async def _later(parts: System, seconds: float) -> Answer:
    await asyncio.sleep(seconds)
    return await parts.router.route(NONE, CALL)


async def test_who_has_failed_everywhere_it_could_go_holds_up_nobody() -> None:
    """It waits for a replica that is silent; those behind it go to the one that failed it."""
    parts = await system({"t1": BROKEN, "t2": OK}, rules=Rules(), max_num_seqs=4).refresh()
    backend, clock = parts.backends["throughput"], parts.clock
    del backend.replicas["t2"]
    backend.num_silent = 1
    clock.now_s += 2.1
    await parts.refresh()
    waiting = asyncio.create_task(parts.router.route(NONE, CALL))
    await until(lambda: parts.asked() == ["t1"])
    backend.replicas["t1"] = (head("t1"), b"{}")
    others = [asyncio.create_task(parts.router.route(NONE, CALL)) for _ in range(3)]
    await asyncio.sleep(0)
    await parts.refresh()
    answers = await asyncio.wait_for(asyncio.gather(*others), 5)
    assert [answer.decision.replica for answer in answers] == ["t1"] * 3
    assert not waiting.done()
    await cancel(waiting)
