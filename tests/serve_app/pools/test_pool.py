"""What a pool knows of its replicas, and what a lease gives back."""

import pytest

from serve_app.engine.scripted import OK, ScriptedBackend, Step
from serve_app.errors import ReplicaLost
from serve_app.pools.breaker import NUM_FAILURES, OPEN_S
from serve_app.pools.pool import Lease, Pool
from serve_app.types import Effort, PoolSnapshot, ReplicaReport, ReplicaSnapshot
from tests.serve_app.samples import CALL, Clock, gather, head

TRAITS = PoolSnapshot("throughput", frozenset({Effort.NONE}), max_num_seqs=64)
A, B = ReplicaReport("a", 3), ReplicaReport("b")


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves."""
    return Clock()


@pytest.fixture
def backend() -> ScriptedBackend:
    """Two replicas, of which the first says that it has three requests."""
    return ScriptedBackend({"a": OK, "b": OK}, num_ongoing={"a": 3})


@pytest.fixture
def pool(backend: ScriptedBackend, clock: Clock) -> Pool:
    """A pool over the two replicas that has not heard from them yet."""
    return Pool(TRAITS, backend, clock)


async def test_nothing_is_known_at_first(pool: Pool) -> None:
    """Before the first report a pool has no replicas."""
    assert pool.snapshot() == TRAITS
    assert repr(pool) == "<Pool throughput: 0 replicas, 0 leases>"


async def test_load_is_reported_plus_leased_since(pool: Pool, clock: Clock) -> None:
    """Requests sent since the report count on top of it, until the next report counts them itself."""
    await pool.refresh()
    reported_at_s = clock.now_s
    pool.acquire("a", CALL, 100)
    pool.acquire("a", CALL, 20)
    clock.now_s += 1.5
    a, b = pool.snapshot().replicas
    assert a == ReplicaSnapshot(A, reported_at_s, num_leased=2, leased_tokens=120)
    assert a.load == 5
    assert b == ReplicaSnapshot(B, reported_at_s)

    await pool.refresh()
    assert pool.snapshot().replicas == (ReplicaSnapshot(A, clock.now_s), ReplicaSnapshot(B, clock.now_s))


async def test_a_snapshot_does_not_change(pool: Pool) -> None:
    """What the policy was given stays as it was."""
    await pool.refresh()
    before = pool.snapshot()
    pool.acquire("b", CALL)
    assert before.replicas[1].load == 0


async def test_a_snapshot_is_made_anew_when_something_changed(pool: Pool) -> None:
    """A report, a lease or a suspicion; else it is the same one, as decisions come by the thousand."""
    await pool.refresh()
    seen = [pool.snapshot()]
    assert pool.snapshot() is seen[0]
    pool.acquire("b", CALL)
    seen.append(pool.snapshot())
    pool.suspect("b")
    seen.append(pool.snapshot())
    await pool.refresh()
    seen.append(pool.snapshot())
    assert len({id(snapshot) for snapshot in seen}) == 4


async def test_the_silent_are_forgotten(pool: Pool, backend: ScriptedBackend) -> None:
    """A replica that is missing among the reports is gone."""
    await pool.refresh()
    del backend.replicas["a"]
    await pool.refresh()
    assert [r.replica for r in pool.snapshot().replicas] == ["b"]


async def test_one_that_is_stopped_ends_what_it_has(pool: Pool, backend: ScriptedBackend) -> None:
    """It is in no snapshot, and still there for the calls that it has, until it is gone."""
    await pool.refresh()
    lease = pool.acquire("a", CALL)
    del backend.replicas["a"]
    backend.stopping = {"a"}
    await pool.refresh()
    assert [r.replica for r in pool.snapshot().replicas] == ["b"]
    assert pool.has("a")
    backend.stopping.clear()
    await pool.refresh()
    assert not pool.has("a")
    lease.release()


async def test_suspect(pool: Pool) -> None:
    """A replica that failed is in no snapshot until it reports again, but still there; strangers are not."""
    await pool.refresh()
    pool.suspect("a")
    pool.suspect("never seen")
    assert [r.replica for r in pool.snapshot().replicas] == ["b"]
    assert pool.has("a")
    assert not pool.has("never seen")
    await pool.refresh()
    assert [r.replica for r in pool.snapshot().replicas] == ["a", "b"]


async def test_while_one_is_silent_all_that_were_known_age(
    pool: Pool, backend: ScriptedBackend, clock: Clock
) -> None:
    """A silent replica has no name, so each known one that did not report may be it."""
    await pool.refresh()
    first_s = clock.now_s
    clock.now_s += 1.5
    backend.num_silent = 1
    backend.replicas.pop("a")
    await pool.refresh()
    assert [(r.replica, r.reported_at_s) for r in pool.snapshot().replicas] == [
        ("a", first_s),
        ("b", clock.now_s),
    ]
    backend.num_silent = 0
    await pool.refresh()
    assert not pool.has("a")


async def test_a_failed_refresh_leaves_the_reports_to_age(
    pool: Pool, backend: ScriptedBackend, clock: Clock
) -> None:
    """An error of the backend comes out, and the old reports grow older."""

    def fail() -> None:
        raise RuntimeError("no controller")

    await pool.refresh()
    first_s = clock.now_s
    backend.on_reports = fail
    clock.now_s += 4
    with pytest.raises(RuntimeError, match="no controller"):
        await pool.refresh()
    assert {r.reported_at_s for r in pool.snapshot().replicas} == {first_s}


async def test_repr_counts_replicas_and_leases(pool: Pool) -> None:
    """A pool prints what is known and what is held, and a release shows at once."""
    await pool.refresh()
    lease = pool.acquire("a", CALL)
    assert repr(pool) == "<Pool throughput: 2 replicas, 1 leases>"
    lease.release()
    assert repr(pool) == "<Pool throughput: 2 replicas, 0 leases>"


async def test_a_suspect_replica_may_still_be_leased(pool: Pool) -> None:
    """Between decision and lease a replica may have failed; the lease is counted all the same."""
    await pool.refresh()
    pool.suspect("a")
    lease = pool.acquire("a", CALL)
    assert pool.num_leases == 1
    lease.release()
    assert pool.num_leases == 0


def leased(*script: Step) -> tuple[Pool, Lease, ScriptedBackend]:
    """Return a lease on a replica that replays `script`, with its pool and backend."""
    backend = ScriptedBackend({"a": script})
    pool = Pool(TRAITS, backend)
    return pool, pool.acquire("a", CALL), backend


async def whole(lease: Lease) -> list[bytes]:
    """Return every piece of a lease's body."""
    await lease.head()
    return await gather(lease.body())


async def test_read_to_the_end() -> None:
    """A complete answer frees the replica and cancels nothing; the lease knows what it delivered."""
    pool, lease, backend = leased(head("a"), b"ab", b"c")
    assert await lease.head() == head("a")
    assert await gather(lease.body()) == [b"ab", b"c"]
    assert (lease.num_bytes, lease.is_complete, lease.is_released) == (3, True, True)
    assert (pool.num_leases, backend.streams[0].num_cancels) == (0, 0)


async def test_release_is_idempotent() -> None:
    """An answer given up is cancelled once and counted back once, however often it is released."""
    pool, lease, backend = leased(head("a"), b"ab")
    await lease.head()
    for _ in range(3):
        lease.release()
    assert (pool.num_leases, backend.streams[0].num_cancels) == (0, 1)
    assert not lease.is_complete


async def test_broken_in_mid_answer() -> None:
    """An error in the body comes out after what was delivered, and frees the replica."""
    pool, lease, _ = leased(head("a"), b"ab", ReplicaLost("gone"))
    await lease.head()
    with pytest.raises(ReplicaLost, match="gone"):
        await gather(lease.body())
    assert (lease.num_bytes, lease.is_complete, pool.num_leases) == (2, False, 0)


async def test_no_answer_at_all() -> None:
    """A stream that ends before its head means that the replica was lost."""
    _, lease, _ = leased()
    with pytest.raises(ReplicaLost, match="replica a ended without an answer"):
        await lease.head()


async def test_a_second_head_is_a_fault_of_ours() -> None:
    """A body is bytes: anything else is a broken contract, and still frees the replica."""
    pool, lease, _ = leased(head("a"), head("a"))
    with pytest.raises(AssertionError, match="a body is bytes, not Head"):
        await whole(lease)
    lease.release()
    assert pool.num_leases == 0


async def test_replicas_hear_how_many_wait(pool: Pool, backend: ScriptedBackend) -> None:
    """With each round of reports they are told how many wait for the pool at that moment."""
    waiting = [1, 2, 3]
    pool.num_queued = lambda: len(waiting)
    for number in (3, 2):
        await pool.refresh()
        assert backend.told == number
        waiting.pop()


async def test_what_waits_elsewhere(pool: Pool, backend: ScriptedBackend, clock: Clock) -> None:
    """All replicas say the same, but for what one has not heard yet: the most counts."""
    backend.said = {name: ReplicaReport(name, num_queued_elsewhere=n) for name, n in (("a", 3), ("b", 5))}
    await pool.refresh()
    assert pool.snapshot().num_queued_elsewhere == 5
    # One that is silent since does not go on saying what was then.
    del backend.replicas["b"], backend.said["b"]
    backend.num_silent = 1
    clock.now_s += 1
    await pool.refresh()
    assert pool.snapshot().num_queued_elsewhere == 3


async def test_a_length_that_only_the_replica_knows(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where settings do not say how much a pool reads, the least of what its replicas say counts."""

    async def reports(_: int) -> list[ReplicaReport | None]:
        return [ReplicaReport("a", max_model_len=4096), ReplicaReport("b", max_model_len=2048), None]

    monkeypatch.setattr(pool.backend, "reports", reports)
    await pool.refresh()
    assert pool.snapshot().max_model_len == 2048


async def test_what_has_ended_since_counts_no_more(pool: Pool, backend: ScriptedBackend) -> None:
    """A place is free at once when a lease ends; never less is counted than this observer itself holds."""
    backend.num_ongoing["a"] = 0
    await pool.refresh()
    leases = [pool.acquire("a", CALL) for _ in range(3)]
    await pool.refresh()
    assert pool.snapshot().replicas[0].load == 3, "the report came before the requests"
    leases[0].release()
    assert pool.snapshot().replicas[0].load == 2
    backend.num_ongoing["a"] = 5
    await pool.refresh()
    leases[1].release()
    assert pool.snapshot().replicas[0].load == 4, "three of them are others'"


async def test_old_answers_that_end_let_no_second_request_through(pool: Pool, clock: Clock) -> None:
    """They were under way before the breaker opened, and say nothing of the one that tries it."""
    await pool.refresh()
    old = [pool.acquire("a", CALL) for _ in range(3)]
    for _ in range(NUM_FAILURES):
        pool.failed("a")
    clock.now_s += OPEN_S
    await pool.refresh()
    assert not pool.snapshot().replicas[0].is_broken
    probe = pool.acquire("a", CALL)
    for lease in old:
        lease.release()
        assert pool.snapshot().replicas[0].is_broken
    probe.release()
    assert not pool.snapshot().replicas[0].is_broken
