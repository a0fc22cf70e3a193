"""How many replicas should a pool have, and when does it get them?"""

import math

from serve_app.simulator.scenario import Autoscaling


def by_requests(num_ongoing: float, scaling: Autoscaling) -> int:
    """Return as many as keep to the target of each, within the limits, as Ray Serve's own policy does."""
    assert scaling.target_ongoing_requests is not None
    enough = math.ceil(num_ongoing / scaling.target_ongoing_requests)
    return max(scaling.min_replicas, min(scaling.max_replicas, enough))


class Delays:
    """Lets a pool grow or shrink when that was wanted for long enough without a break, as Ray Serve does."""

    def __init__(self, scaling: Autoscaling) -> None:
        self._scaling = scaling
        self._since_s: float | None = None
        self._grows = False

    def follow(self, current: int, wanted: int, now_s: float) -> int:
        """Return the number of replicas to have now."""
        if wanted == current:
            self._since_s = None
            return current
        grows = wanted > current
        if self._since_s is None or grows is not self._grows:
            self._since_s, self._grows = now_s, grows
        delay_s = self._scaling.upscale_delay_s if grows else self._scaling.downscale_delay_s
        if now_s - self._since_s < delay_s:
            return current
        self._since_s = None
        return wanted
