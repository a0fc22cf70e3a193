"""What waits at all ingress replicas for this replica's pool?

It is what Serve's controller asks replicas for, and no ingress replica, and so it comes this way round. All
replicas of a pool hear the same.
"""

from serve_app.types import Queued

SILENCE_S = 5.0
"""An ingress replica that has not asked for so long is gone, and its requests with it."""


class IngressQueues:
    """What each ingress replica has said last, and when."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, Queued]] = {}

    def note(self, ingress: str, queued: Queued, now_s: float) -> None:
        """Take down what an ingress replica says."""
        self._said[ingress] = (now_s, queued)

    def total(self, now_s: float) -> Queued:
        """Return the sum over those that are not silent, and forget the others."""
        self._said = {name: one for name, one in self._said.items() if now_s - one[0] <= SILENCE_S}
        return sum((queued for _, queued in self._said.values()), Queued())
