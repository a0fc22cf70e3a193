"""Dispatch: which replica gets the call, what follows a failure, and who gives the lease back."""

import asyncio
from dataclasses import replace

import pytest

from serve_app.engine.scripted import OK
from serve_app.errors import ApiError, NoReplica, PoolBusy, ReplicaLost
from serve_app.router import dispatch, waiting_room
from serve_app.rules import Rules
from serve_app.types import Decision, Effort, Head, Reason, RequestFeatures
from tests.serve_app.samples import CALL, System, cancel, gather, head, system, until

NONE, HIGH = RequestFeatures(Effort.NONE), RequestFeatures(Effort.HIGH)
FREE = {"throughput": 0, "latency": 0}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request that finds no replica wait for a moment only."""
    monkeypatch.setattr(waiting_room, "ABSENT_PATIENCE_S", 0.1)


async def test_an_answer() -> None:
    """The chosen replica gets the call; its head arrives before its body; the end frees the lease."""
    parts = await system({"t1": (head("t1"), b"a", b"b")}, {"l1": OK}).refresh()
    answer = await parts.router.route(NONE, CALL)
    assert answer.decision == Decision("throughput", "t1", Reason.EFFORT)
    assert answer.head == head("t1")
    assert parts.num_leases() == {"throughput": 1, "latency": 0}

    assert await gather(answer.body()) == [b"a", b"b"]
    assert parts.num_leases() == FREE
    assert parts.num_cancels() == 0
    assert parts.backends["throughput"].calls == [("t1", CALL)]
    assert parts.counted("venturi_decisions_total", pool="throughput", effort="none", reason="effort") == 1


@pytest.mark.parametrize(
    ("failure", "num_known_after"),
    [(ReplicaLost("t1 is gone"), 1), (PoolBusy("the queue is full"), 2)],
)
async def test_the_next_replica_is_tried(failure: ApiError, num_known_after: int) -> None:
    """A failure before the head costs the client nothing; a lost replica is forgotten, a busy one is not."""
    parts = await system({"t1": (failure,), "t2": (head("t2"),)}, num_ongoing={"t2": 5}).refresh()
    answer = await parts.router.route(NONE, CALL)

    assert answer.decision == Decision("throughput", "t2", Reason.REPLICA_FAILED)
    assert parts.asked() == ["t1", "t2"]
    assert parts.num_leases() == {"throughput": 1, "latency": 0}
    assert len(parts.pools["throughput"].snapshot().replicas) == num_known_after
    assert parts.counted("venturi_retries_total", pool="throughput", code=failure.code) == 1
    assert (
        parts.counted("venturi_decisions_total", pool="throughput", effort="none", reason="replica-failed")
        == 1
    )


async def test_a_stream_that_ends_without_a_head_is_a_failure() -> None:
    """A replica that closes its stream at once has not answered."""
    parts = await system({"t1": (), "t2": (head("t2"),)}, num_ongoing={"t2": 5}).refresh()
    assert (await parts.router.route(NONE, CALL)).decision.replica == "t2"


async def test_away_after_all_of_home_failed() -> None:
    """When every replica at home has failed, another pool serves, and the reason says so."""
    parts = await system({"t1": (head("t1"),)}, {"l1": (ReplicaLost("gone"),)}).refresh()
    decision = (await parts.router.route(HIGH, CALL)).decision
    assert decision == Decision("throughput", "t1", Reason.NO_HEALTHY_REPLICA)


async def test_the_last_refusal_is_raised() -> None:
    """When all have failed, the client hears what the last one said, with its own cause; nothing is held."""
    last = PoolBusy("the queue is full")
    last.__cause__ = cause = RuntimeError("back-pressure")
    parts = await system({"t1": (ReplicaLost("t1 is gone"),), "t2": (last,)}, num_ongoing={"t2": 5}).refresh()
    with pytest.raises(PoolBusy) as refused:
        await parts.router.route(NONE, CALL)
    assert refused.value is last
    assert refused.value.__cause__ is cause
    assert parts.asked() == ["t1", "t2"]
    assert parts.num_leases() == FREE


async def test_no_replica_at_all() -> None:
    """Without any replica the request waits for a moment, and is then refused."""
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(NoReplica, match=r"throughput: 0, latency: 0"):
        await system({}).router.route(NONE, CALL)
    assert asyncio.get_running_loop().time() - began_s >= 0.1


async def test_a_replica_that_comes_in_time() -> None:
    """A request that finds no replica goes to one that reports within the patience."""
    parts = system({"t1": (head("t1"),)})
    task = asyncio.create_task(parts.router.route(NONE, CALL))
    await asyncio.sleep(0.01)
    await parts.refresh()
    assert (await task).decision.replica == "t1"


async def test_lost_between_head_and_first_piece() -> None:
    """A head alone has told the client nothing: the next replica is tried, and its opening is not lost."""
    parts = await system(
        {"t1": (head("t1"), ReplicaLost("gone")), "t2": (head("t2"), b"a", b"b")}, num_ongoing={"t2": 5}
    ).refresh()
    answer = await parts.router.route(NONE, CALL)
    assert (answer.decision.replica, answer.opening) == ("t2", b"a")
    assert await gather(answer.body()) == [b"a", b"b"]
    assert parts.num_leases() == FREE


async def test_no_retry_after_the_first_piece() -> None:
    """Once the body has begun, a failure is the answer's own: nobody else is asked, the lease is freed."""
    parts = await system(
        {"t1": (head("t1"), b"a", ReplicaLost("gone")), "t2": OK}, num_ongoing={"t2": 5}
    ).refresh()
    answer = await parts.router.route(NONE, CALL)
    body = answer.body()
    assert await anext(body) == b"a"
    with pytest.raises(ReplicaLost, match="gone"):
        await anext(body)
    assert parts.asked() == ["t1"]
    assert parts.num_leases() == FREE


async def test_cancelled_before_the_head() -> None:
    """A client that leaves while the engine thinks stops the engine."""
    parts = await system({"t1": (10.0, head("t1"))}).refresh()
    task = asyncio.create_task(parts.router.route(NONE, CALL))
    await until(lambda: parts.num_leases()["throughput"] == 1)
    await cancel(task)
    assert parts.num_leases() == FREE
    assert parts.num_cancels() == 1


async def test_a_fault_of_ours_frees_the_lease() -> None:
    """An unexpected error is not retried, and holds nothing."""
    parts = await system({"t1": (b"a body without a head",), "t2": OK}, num_ongoing={"t2": 5}).refresh()
    with pytest.raises(AssertionError, match="a stream begins with Head, not bytes"):
        await parts.router.route(NONE, CALL)
    assert parts.asked() == ["t1"]
    assert parts.num_leases() == FREE


async def test_released_once() -> None:
    """Releasing early cancels the stream; releasing again, or closing the body after it, does nothing."""
    parts = await system({"t1": (head("t1"), b"a", b"b")}).refresh()
    answer = await parts.router.route(NONE, CALL)
    body = answer.body()
    await anext(body)
    answer.release()
    answer.release()
    await body.aclose()  # type: ignore[attr-defined]
    assert parts.num_leases() == FREE
    assert parts.num_cancels() == 1


async def test_what_is_healthy() -> None:
    """A replica counts until its report is too old; then its effort has no pool of its own."""
    rules = Rules(max_age_s=2.0, max_silence_s=5.0)
    parts = await system({"t1": OK, "t2": OK}, {"l1": OK}, rules=rules).refresh()
    assert parts.router.num_healthy() == {"throughput": 2, "latency": 1}
    assert parts.router.unready() == []

    parts.clock.now_s += 3
    await parts.pools["throughput"].refresh()
    assert parts.router.num_healthy() == {"throughput": 2, "latency": 0}
    assert parts.router.unready() == [], "it would be waited for"

    parts.clock.now_s += 3
    await parts.pools["throughput"].refresh()
    assert parts.router.unready() == [Effort.HIGH]


async def asleep(rules: Rules) -> System:
    """Return a system whose latency pool sleeps."""
    parts = system({"t1": OK}, rules=rules)
    parts.pools["latency"].traits = replace(parts.pools["latency"].traits, may_sleep=True)
    return await parts.refresh()


async def test_a_request_wakes_its_home() -> None:
    """It is served elsewhere meanwhile; a pool that is nobody's home is not woken, nor one that is awake."""
    parts = await asleep(Rules(max_age_s=2.0))
    assert parts.router.unready() == [], "who asks gets it, so that it need not be there"
    (await parts.router.route(NONE, CALL)).release()
    wakes = {name: backend.num_wakes for name, backend in parts.backends.items()}
    assert wakes == {"throughput": 0, "latency": 0}
    answer = await parts.router.route(HIGH, CALL)
    assert (answer.decision.pool, answer.decision.reason) == ("throughput", Reason.NO_HEALTHY_REPLICA)
    answer.release()
    assert parts.backends["latency"].num_wakes == 1

    parts.backends["latency"].replicas["l1"] = OK
    await parts.refresh()
    answer = await parts.router.route(HIGH, CALL)
    assert (answer.decision.pool, parts.backends["latency"].num_wakes) == ("latency", 1)
    answer.release()


async def test_a_home_that_is_woken_and_not_there_yet() -> None:
    """Where nothing may spill over, the request is refused, but the next one will find a replica."""
    parts = await asleep(Rules(spill_over=False, max_age_s=2.0))
    with pytest.raises(NoReplica):
        await parts.router.route(HIGH, CALL)
    assert parts.backends["latency"].num_wakes == 1


async def test_what_the_gauges_show() -> None:
    """Leases, each replica under one state, and the efforts that have a replica of their own."""
    parts = await system(
        {"t1": (head("t1"), b"a"), "t2": OK}, {"l1": OK}, rules=Rules(max_age_s=2.0, max_silence_s=2.0)
    ).refresh()
    answer = await parts.router.route(NONE, CALL)

    def shown(pool: str) -> list[float]:
        parts.router.show_state()
        states = ("healthy", "silent", "draining", "suspect")
        return [parts.counted("venturi_replicas", pool=pool, state=state) for state in states]

    assert (shown("throughput"), shown("latency")) == ([2, 0, 0, 0], [1, 0, 0, 0])
    assert parts.counted("venturi_leases", pool="throughput") == 1
    parts.pools["throughput"].suspect("t1")
    parts.clock.now_s += 1.0
    await parts.pools["throughput"].refresh()
    parts.pools["throughput"].suspect("t2")
    parts.clock.now_s += 1.5
    assert (shown("throughput"), shown("latency")) == ([1, 0, 0, 1], [0, 1, 0, 0])
    assert [parts.counted("venturi_ready", effort=effort) for effort in ("none", "high")] == [1, 0]
    answer.release()
    shown("throughput")
    assert parts.counted("venturi_leases", pool="throughput") == 0


async def test_run_keeps_the_view_fresh() -> None:
    """While the router runs, pools hear from their replicas without being asked."""
    parts: System = system({"t1": OK}, {"l1": OK})
    task = asyncio.create_task(parts.router.run())
    await until(lambda: not parts.router.unready())
    await cancel(task)


async def test_engine_metrics() -> None:
    """The texts of all replicas arrive with their pool's and their own name."""
    parts = system({"t1": OK, "t2": OK}, {"l1": OK})
    parts.backends["throughput"].texts = {"t1": b"one", "t2": b"two"}
    parts.backends["latency"].texts = {"l1": b"three"}
    assert await parts.router.engine_metrics() == [
        ("throughput", "t1", b"one"),
        ("throughput", "t2", b"two"),
        ("latency", "l1", b"three"),
    ]


async def test_an_answer_may_have_no_body() -> None:
    """An answer that is a head alone ends like any other."""
    parts = await system({"t1": (Head(204),)}).refresh()
    answer = await parts.router.route(NONE, CALL)
    assert await gather(answer.body()) == []
    assert parts.num_leases() == FREE


async def test_a_replica_that_is_stopped_before_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve lets a replica end what it has when a pool shrinks or is updated: no request is made twice."""
    monkeypatch.setattr(dispatch, "ABSENCE_CHECK_S", 0.01)
    parts = await system({"t1": (0.1, head("t1"), b"{}")}, {"l1": OK}).refresh()
    routing = asyncio.ensure_future(parts.router.route(NONE, CALL))
    await until(lambda: parts.asked() == ["t1"])
    backend = parts.backends["throughput"]
    backend.replicas, backend.stopping = {}, {"t1"}
    await parts.refresh()
    answer = await routing
    assert answer.decision == Decision("throughput", "t1", Reason.EFFORT)
    assert parts.asked() == ["t1"]
    answer.release()


async def test_a_replica_that_goes_before_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waits for a replica which is not there any more is taken to the next one."""
    monkeypatch.setattr(dispatch, "ABSENCE_CHECK_S", 0.01)
    parts = await system({"t1": (60.0,)}, {"l1": (head("l1"), b"{}")}).refresh()
    routing = asyncio.ensure_future(parts.router.route(NONE, CALL))
    await until(lambda: parts.asked() == ["t1"])
    parts.backends["throughput"].replicas.clear()
    await parts.refresh()
    answer = await routing
    assert answer.decision == Decision("latency", "l1", Reason.NO_HEALTHY_REPLICA)
    assert parts.num_leases() == {"throughput": 0, "latency": 1}
    answer.release()
