"""Do replicas follow the requests, within the limits?"""

import pytest

from serve_app.simulator.autoscaling import wanted
from serve_app.simulator.scenario import Autoscaling


@pytest.mark.parametrize(("num_ongoing", "replicas"), [(0, 2), (20, 2), (21, 3), (45, 5), (1000, 5)])
def test_wanted(num_ongoing: int, replicas: int) -> None:
    """Ten requests a replica, 2 to 5 replicas."""
    scaling = Autoscaling(min_replicas=2, max_replicas=5, target_ongoing_requests=10)
    assert wanted(num_ongoing, scaling) == replicas
