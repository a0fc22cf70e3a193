"""Serve's request router, told by our policy which replica to take."""

from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.engine.pinned import PinnedReplicaRouter


def replica(name: str) -> Any:
    """Return a running replica, as far as the router looks at it."""
    return SimpleNamespace(replica_id=SimpleNamespace(unique_id=name))


def pending(session_id: str) -> Any:
    """Return a pending request, as far as the router looks at it."""
    return SimpleNamespace(
        metadata=SimpleNamespace(session_id=session_id),
        routing_context=SimpleNamespace(should_backoff=False),
    )


CANDIDATES = [replica("a"), replica("b"), replica("c")]


async def chosen(request: Any) -> list[list[str]]:
    """Return the ids that are chosen for a request."""
    # Its constructor wants a cluster; the choice itself needs nothing of it.
    router = PinnedReplicaRouter.__new__(PinnedReplicaRouter)
    ranks = await router.choose_replicas(CANDIDATES, request)
    return [[r.replica_id.unique_id for r in rank] for rank in ranks]


@pytest.mark.parametrize(
    ("pin", "ranks"),
    [
        ("b", [["b"]]),
        ("gone", [["a", "b", "c"]]),
        ("", [["a", "b", "c"]]),
    ],
)
async def test_pin(pin: str, ranks: list[list[str]]) -> None:
    """A pinned request goes to its replica alone; one whose replica is gone, or that has none, to any."""
    assert await chosen(pending(pin)) == ranks


async def test_a_full_replica_is_asked_with_pauses() -> None:
    """Serve is told to pause between attempts, which it does not by itself."""
    request = pending("b")
    await chosen(request)
    assert request.routing_context.should_backoff


async def test_without_a_request() -> None:
    """When Serve asks without a request, every candidate will do."""
    assert await chosen(None) == [["a", "b", "c"]]
