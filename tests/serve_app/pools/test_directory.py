"""The directory: every pool is kept fresh, whatever the others do."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from serve_app.engine.scripted import OK, ScriptedBackend
from serve_app.pools.directory import Directory
from serve_app.pools.pool import Pool
from serve_app.types import Effort, PoolSnapshot, ReplicaReport
from tests.serve_app.samples import cancel, until


class Hanging(ScriptedBackend):
    """A pool whose replicas never report."""

    async def reports(self, num_queued: int) -> Sequence[ReplicaReport]:
        """Hang."""
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def pool(name: str, backend: ScriptedBackend) -> Pool:
    """Return a pool with the real clock."""
    return Pool(PoolSnapshot(name, frozenset({Effort.NONE})), backend)


@asynccontextmanager
async def running(directory: Directory) -> AsyncIterator[None]:
    """Keep a directory running for as long as the block."""
    task = asyncio.create_task(directory.run())
    yield
    assert not task.done()
    await cancel(task)


async def test_snapshots_of_all_pools() -> None:
    """Every pool is there, in order, also one that has not reported."""
    directory = Directory({n: pool(n, ScriptedBackend({n: OK})) for n in ("b", "a")}, 0.01)
    assert [(s.name, s.replicas) for s in directory.snapshots()] == [("b", ()), ("a", ())]


async def test_a_hanging_pool_does_not_age_the_others() -> None:
    """Each pool goes at its own pace: one that hangs leaves the others fresh."""
    num_reports = 0

    def count() -> None:
        nonlocal num_reports
        num_reports += 1

    well = ScriptedBackend({"w": OK}, on_reports=count)
    directory = Directory({"hanging": pool("hanging", Hanging({"h": OK})), "well": pool("well", well)}, 0.01)
    async with running(directory):
        await until(lambda: num_reports >= 3)
        hanging, fresh = directory.snapshots()
    assert hanging.replicas == ()
    assert time.monotonic() - fresh.replicas[0].reported_at_s < 1


async def test_a_failed_refresh_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Errors while refreshing are logged once, with their pool, and the next period tries again."""
    failures = [RuntimeError("no controller"), OSError("no network")]

    def fail_twice() -> None:
        if failures:
            raise failures.pop(0)

    directory = Directory({"p": pool("p", ScriptedBackend({"r": OK}, on_reports=fail_twice))}, 0.01)
    # Ray keeps its logger to itself.
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)
    try:
        async with running(directory):
            await until(lambda: directory.snapshots()[0].replicas != ())
    finally:
        logger.removeHandler(caplog.handler)
    (record,) = (r for r in caplog.records if r.levelno == logging.ERROR)
    assert "asking pool p for reports: failed" in record.getMessage()
    assert "no controller" in str(record.exc_info)


async def test_who_waits_is_looked_at_also_when_a_refresh_fails() -> None:
    """Deadlines pass whether replicas report or not."""

    def fail() -> None:
        raise RuntimeError("no controller")

    looked = asyncio.Event()
    failing = pool("p", ScriptedBackend({"r": OK}, on_reports=fail))
    failing.on_refresh = looked.set
    async with running(Directory({"p": failing}, 0.01)):
        await asyncio.wait_for(looked.wait(), 5)
