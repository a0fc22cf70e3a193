"""How many requests wait at all ingress replicas for this replica's pool?

Serve's controller asks replicas for it, and no ingress replica, and ingress replicas hear of each other's
queues only in this way. All replicas of a pool hear the same.
"""

SILENCE_S = 5.0
"""An ingress replica that has not asked for so long is gone, and its requests with it."""


class IngressQueues:
    """What each ingress replica has said last, and when."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}

    def note(self, ingress: str, num_queued: int, now_s: float) -> None:
        """Take down what an ingress replica says."""
        self._said[ingress] = (now_s, num_queued)

    def total(self, now_s: float, without: str | None = None) -> int:
        """Return the sum over those that are not silent, `without` one of them, and forget the silent."""
        self._said = {name: one for name, one in self._said.items() if now_s - one[0] <= SILENCE_S}
        return sum(num_queued for name, (_, num_queued) in self._said.items() if name != without)
