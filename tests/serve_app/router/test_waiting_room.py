"""Waiting for a place, over scripted replicas of one place each: order, refusals, cancels, and who pays."""

import asyncio
from contextvars import ContextVar
from dataclasses import replace

import pytest

from serve_app.engine.scripted import ScriptedStream
from serve_app.errors import DeadlineUnreachable, Displaced, QueueFull
from serve_app.router.dispatch import Answer
from serve_app.rules import Rules
from serve_app.types import Call, Effort, RequestFeatures
from tests.serve_app.samples import CALL, System, cancel, gather, head, system, until

NONE, HIGH = RequestFeatures(Effort.NONE), RequestFeatures(Effort.HIGH)
FREE = {"throughput": 0, "latency": 0}
AT_HOME = Rules(spill_over=False, max_age_s=float("inf"))


async def one_place(rules: Rules = AT_HOME, max_queued: int = 100) -> System:
    """Return a system whose throughput pool works on one request at a time."""
    parts = system({"t1": (head("t1"), b"a", b"b")}, rules=rules, max_num_seqs=1, max_queued=max_queued)
    return await parts.refresh()


async def asked(parts: System, features: RequestFeatures = NONE) -> "asyncio.Task[Answer]":
    """Ask, and go on when the request is as far as it gets."""
    task = asyncio.ensure_future(parts.router.route(features, CALL))
    await asyncio.sleep(0.005)
    return task


async def test_it_waits_until_a_place_is_free() -> None:
    """The engine gets a request when the one before it has ended, at once, without another report."""
    parts = await one_place()
    first, second = await asked(parts), await asked(parts)
    assert parts.asked() == ["t1"]
    assert parts.counted("venturi_queue_depth", pool="throughput", effort="none") == 1

    parts.clock.now_s += 3
    await gather(first.result().body())
    answer = await second
    assert parts.asked() == ["t1", "t1"]
    assert parts.counted("venturi_queue_depth", pool="throughput", effort="none") == 0
    assert parts.counted("venturi_queue_seconds_sum", pool="throughput", effort="none") == 3
    await gather(answer.body())
    assert parts.num_leases() == FREE


async def test_replicas_hear_how_many_wait() -> None:
    """Those that have no place yet are told to the replicas of their pool, for Serve to scale by."""
    parts = await one_place()
    first, *others = [await asked(parts) for _ in range(3)]
    await parts.refresh()
    told = {name: backend.told for name, backend in parts.backends.items()}
    assert told == {"throughput": 2, "latency": 0}
    for task in others:
        await cancel(task)
    first.result().release()
    await parts.refresh()
    assert parts.backends["throughput"].told == 0


async def test_a_place_that_a_report_tells_of() -> None:
    """Others' requests end without this ingress's doing: the next report lets somebody go on."""
    parts = await one_place()
    parts.backends["throughput"].num_ongoing["t1"] = 1
    await parts.refresh()
    waiting = await asked(parts)
    assert parts.asked() == []
    parts.backends["throughput"].num_ongoing["t1"] = 0
    await parts.refresh()
    (await waiting).release()
    assert parts.num_leases() == FREE


async def test_a_full_queue() -> None:
    """The newcomer is told so, and counted."""
    parts = await one_place(max_queued=1)
    first, second = await asked(parts), await asked(parts)
    with pytest.raises(QueueFull) as refused:
        await parts.router.route(NONE, CALL)
    assert int(refused.value.headers["retry-after"]) >= 1
    assert parts.counted("venturi_sheds_total", pool="throughput", effort="none", reason="queue_full") == 1
    await cancel(second)
    first.result().release()


async def test_displaced() -> None:
    """A more important one takes the place in the queue; whoever waited there is told so, and counted."""
    parts = await one_place(max_queued=1)
    first, second = await asked(parts), await asked(parts)
    third = await asked(parts, replace(NONE, priority=1))
    with pytest.raises(Displaced):
        await second
    assert parts.counted("venturi_sheds_total", pool="throughput", effort="none", reason="displaced") == 1
    first.result().release()
    (await third).release()


async def test_a_deadline_passes() -> None:
    """The refresh of reports notices."""
    parts = await one_place()
    first = await asked(parts)
    second = await asked(parts, replace(NONE, first_token_deadline_s=parts.clock.now_s + 50))
    parts.clock.now_s += 60
    await parts.refresh()
    with pytest.raises(DeadlineUnreachable, match=r"waited 60\.0 s"):
        await second
    first.result().release()


async def test_the_client_leaves_the_queue() -> None:
    """It is forgotten, and the next one gets its turn; the engine never hears of it."""
    parts = await one_place()
    first, second, third = await asked(parts), await asked(parts), await asked(parts)
    await cancel(second)
    assert parts.counted("venturi_queue_depth", pool="throughput", effort="none") == 1
    first.result().release()
    (await third).release()
    assert parts.asked() == ["t1", "t1"]


async def test_the_client_leaves_as_it_gets_its_lease() -> None:
    """The lease is given back, and the next one goes on."""
    parts = await one_place()
    first, second, third = await asked(parts), await asked(parts), await asked(parts)
    first.result().release()
    parts.router._room.look("throughput")  # second has its lease, and does not know it yet
    assert parts.asked() == ["t1", "t1"]
    await cancel(second)
    (await third).release()
    assert parts.asked() == ["t1"] * 3
    assert parts.num_leases() == FREE


async def test_each_call_is_made_in_its_own_context() -> None:
    """Ray Serve cancels a call with the request in whose context it was made: not with somebody else's."""
    parts = await one_place()
    whose, seen = ContextVar("whose", default="nobody"), []
    backend = parts.backends["throughput"]
    real = backend.open

    def noted(replica: str, call: Call) -> ScriptedStream:
        seen.append(whose.get())
        return real(replica, call)

    backend.open = noted  # type: ignore[method-assign]
    tasks = []
    for name in ("first", "second"):
        whose.set(name)
        tasks.append(await asked(parts))
    whose.set("neither")
    tasks[0].result().release()
    (await tasks[1]).release()
    assert seen == ["first", "second"]


async def test_a_call_that_cannot_be_made() -> None:
    """It is that request's own error: the next one goes on, and nothing is held."""
    parts = await one_place()
    first, second, third = await asked(parts), await asked(parts), await asked(parts)
    backend = parts.backends["throughput"]
    real, num_calls = backend.open, 0

    def once_broken(replica: str, call: Call) -> ScriptedStream:
        nonlocal num_calls
        num_calls += 1
        if num_calls == 1:
            raise RuntimeError("no handle")
        return real(replica, call)

    backend.open = once_broken  # type: ignore[method-assign]
    first.result().release()
    with pytest.raises(RuntimeError, match="no handle"):
        await second
    (await third).release()
    assert parts.num_leases() == FREE


async def test_retried_ones_keep_their_place() -> None:
    """A request that lost its replica waits with the time of its arrival, and not behind newcomers."""
    parts = await one_place()
    first = await asked(parts)
    second = await asked(parts)
    parts.clock.now_s += 1
    room = parts.router._room
    early = asyncio.ensure_future(room.lease(NONE, CALL, since_s=50.0))
    await asyncio.sleep(0.005)
    first.result().release()
    (await early)[1].release()
    (await second).release()


async def test_many() -> None:
    """Of fifty requests of both efforts, none is lost, and never are there more than the places."""
    parts = await one_place(Rules(max_age_s=float("inf"), targets={}))
    most = 0

    async def one(number: int) -> None:
        nonlocal most
        answer = await parts.router.route(NONE, CALL)
        most = max(most, parts.pools["throughput"].num_leases)
        if number % 7:
            assert await gather(answer.body()) == [b"a", b"b"]
        else:
            answer.release()

    tasks = [asyncio.ensure_future(one(i)) for i in range(50)]
    await asyncio.sleep(0)
    for task in tasks[10:20]:
        task.cancel()
    await until(lambda: all(task.done() for task in tasks))
    assert most == 1
    assert sum(task.cancelled() for task in tasks) == 10
    assert not [task for task in tasks if not task.cancelled() and task.exception()]
    assert parts.num_leases() == FREE


async def test_how_long_requests_waited() -> None:
    """From when they asked for a place, which after a lost replica is late; only of those that got one."""
    parts = await one_place()
    where = {"pool": "throughput", "effort": "none"}
    room = parts.router._room
    first = await asked(parts)
    parts.clock.now_s += 40
    retried = asyncio.ensure_future(room.lease(NONE, CALL, since_s=parts.clock.now_s - 40))
    await asyncio.sleep(0.005)
    parts.clock.now_s += 1
    first.result().release()
    lease = (await retried)[1]
    assert parts.counted("venturi_queue_seconds_sum", **where) == pytest.approx(1)
    broken = await asked(parts)

    def no_handle(replica: str, call: Call) -> ScriptedStream:
        raise RuntimeError("no handle")

    parts.backends["throughput"].open = no_handle  # type: ignore[method-assign]
    lease.release()
    with pytest.raises(RuntimeError, match="no handle"):
        await broken
    assert parts.counted("venturi_queue_seconds_count", **where) == 1
