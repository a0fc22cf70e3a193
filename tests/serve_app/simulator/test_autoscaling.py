"""Do replicas follow the load, within the limits and not too soon?"""

import pytest

from serve_app.simulator.autoscaling import Delays, by_requests
from serve_app.simulator.scenario import Autoscaling


@pytest.mark.parametrize(("num_ongoing", "replicas"), [(0, 2), (20, 2), (21, 3), (45, 5), (1000, 5)])
def test_by_requests(num_ongoing: int, replicas: int) -> None:
    """Ten requests a replica, 2 to 5 replicas."""
    scaling = Autoscaling(min_replicas=2, max_replicas=5, target_ongoing_requests=10)
    assert by_requests(num_ongoing, scaling) == replicas


@pytest.mark.parametrize(
    ("wanted", "followed"),
    [
        ([3, 3, 3, 3], [2, 2, 2, 3]),  # more, for 30 s
        ([3, 4, 5, 6], [2, 2, 2, 6]),  # as many as are wanted in the end
        ([3, 3, 2, 3, 3, 3, 3], [2, 2, 2, 2, 2, 2, 3]),  # a break begins the wait anew
        ([3, 1, 3, 3, 3, 3], [2, 2, 2, 2, 2, 3]),  # and so does the other direction
        ([1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 1]),  # fewer, for 60 s
    ],
)
def test_delays(wanted: list[int], followed: list[int]) -> None:
    """A change must be wanted for its delay without a break, asked every 10 s."""
    delays, current = Delays(Autoscaling(max_replicas=9, upscale_delay_s=30, downscale_delay_s=60)), 2
    for i, number in enumerate(wanted):
        current = delays.follow(current, number, 10.0 * i)
        assert current == followed[i], f"after {10 * i} s"


def test_without_delays() -> None:
    """Then it follows at once."""
    delays = Delays(Autoscaling(max_replicas=9, upscale_delay_s=0, downscale_delay_s=0))
    assert [delays.follow(2, number, 0.0) for number in (3, 1)] == [3, 1]
