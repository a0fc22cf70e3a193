"""What becomes of requests whose only replica is silent?"""

import asyncio

import pytest

from serve_app.errors import NoReplica
from serve_app.router import waiting_room
from serve_app.rules import Rules
from serve_app.types import Decision, Effort, Reason, RequestFeatures
from tests.serve_app.samples import CALL, head, system

NONE = RequestFeatures(Effort.NONE)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request that finds no replica wait for a moment only."""
    monkeypatch.setattr(waiting_room, "ABSENT_PATIENCE_S", 0.1)


async def test_the_only_replica_is_too_busy_to_report() -> None:
    """Requests wait for it, and are answered when it is heard of again; they are refused after a while."""
    rules = Rules(spill_over=False, max_age_s=2.0, max_silence_s=5.0, targets={})
    parts = await system({"t1": (head("t1"), b"a")}, rules=rules).refresh()
    parts.clock.now_s += 3
    waiting = asyncio.create_task(parts.router.route(NONE, CALL))
    await asyncio.sleep(0.3)
    assert not waiting.done(), "for longer than where nobody is known"
    assert parts.asked() == []
    await parts.refresh()
    answer = await waiting
    assert answer.decision == Decision("throughput", "t1", Reason.EFFORT)
    answer.release()

    parts.clock.now_s += 3
    waiting = asyncio.create_task(parts.router.route(NONE, CALL))
    await asyncio.sleep(0.01)
    backend = parts.backends["throughput"]
    backend.replicas, backend.num_silent = {}, 1
    parts.clock.now_s += 3
    await parts.refresh()
    parts.clock.now_s += 1
    await parts.refresh()
    with pytest.raises(NoReplica):
        await waiting
