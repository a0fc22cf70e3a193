"""How does a Serve handle send a request to the very replica that our policy chose?"""

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica


class PinnedReplicaRouter(RequestRouter):
    """Serve's request router for the pools: the replica is the request's session id.

    `HandleBackend.open` sets it. Requests without one, and those whose replica is no longer among
    the candidates, may go to any. Serve itself still enforces max_ongoing_requests: when the chosen
    replica is full, the request waits for it in the handle, up to max_queued_requests.
    """

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Return one rank: the pinned replica alone, or every candidate."""
        if pending_request is None:
            return [candidate_replicas]
        # Without this, Serve asks again in a busy loop while the replica is full.
        pending_request.routing_context.should_backoff = True
        pin = pending_request.metadata.session_id
        pinned = [r for r in candidate_replicas if r.replica_id.unique_id == pin]
        return [pinned or candidate_replicas]
