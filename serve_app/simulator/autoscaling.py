"""How many replicas should a pool have, by the requests in flight?"""

import math

from serve_app.simulator.scenario import Autoscaling


def wanted(num_ongoing: int, scaling: Autoscaling) -> int:
    """Return as many as keep to the target of each, within the limits."""
    enough = math.ceil(num_ongoing / scaling.target_ongoing_requests)
    return max(scaling.min_replicas, min(scaling.max_replicas, enough))
