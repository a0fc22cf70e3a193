"""Are all divisions tried, and a split only taken where it is worth it?"""

import pytest

from serve_app.errors import ConfigError
from serve_app.simulator.division import choose, divisions
from tests.serve_app.simulator.small import TWO_POOLS, scenario


def test_every_division_of_the_same_replicas() -> None:
    """Alone each pool has both efforts and all replicas."""
    pools = {name: pool | {"replicas": 2} for name, pool in TWO_POOLS.items()}
    found = dict(divisions(scenario(pools=pools)))
    assert list(found) == [
        "all throughput",
        "all latency",
        "1 throughput + 3 latency",
        "2 throughput + 2 latency",
        "3 throughput + 1 latency",
    ]
    assert {sum(pool.replicas for pool in one.pools.values()) for one in found.values()} == {4}
    assert set(found["all latency"].pools["latency"].efforts) == {"none", "high"}


@pytest.mark.parametrize(
    ("goodputs", "chosen"),
    [
        ({"all a": 1.0, "all b": 2.0}, "all b"),
        ({"all a": 1.0, "all b": 2.0, "1 a + 1 b": 2.4}, "all b"),
        ({"all a": 1.0, "all b": 2.0, "1 a + 1 b": 2.5}, "1 a + 1 b"),
        ({"all a": 0.0, "1 a + 2 b": 0.1, "2 a + 1 b": 0.2}, "2 a + 1 b"),
        ({"all a": 0.0, "1 a + 1 b": 0.0}, "all a"),
    ],
)
def test_a_split_has_to_be_worth_it(goodputs: dict[str, float], chosen: str) -> None:
    """By more than the predictions may be wrong."""
    assert choose(goodputs) == chosen


def test_there_must_be_something_to_divide() -> None:
    """Two pools whose replicas take the same GPUs."""
    one = {"one": {"efforts": ["none", "high"]}}
    with pytest.raises(ConfigError, match="of 2 pools, not 1"):
        list(divisions(scenario(pools=one)))
    wider = TWO_POOLS | {"latency": TWO_POOLS["latency"] | {"plan": {"tp": 2}}}
    with pytest.raises(ConfigError, match="must be equal"):
        list(divisions(scenario(pools=wider)))
    with pytest.raises(ValueError, match="no undivided cluster"):
        choose({"1 a + 1 b": 1.0})
