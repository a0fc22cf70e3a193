"""Is the cluster that is found large enough, and no larger?"""

import pytest

from serve_app.errors import ConfigError
from serve_app.simulator.capacity import capacity, meets, with_replicas
from serve_app.simulator.cluster import simulate
from serve_app.simulator.outcome import summarise
from tests.serve_app.simulator.small import scenario

TARGETS = {
    "targets": {"none": {"ttft_s": 1}, "high": {"ttft_s": 1, "per_token_s": 0.02}},
    "spill_over": False,
}


def test_one_less_of_any_pool_would_not_do() -> None:
    """And what was found does."""
    asked = scenario(arrivals={"kind": "poisson", "rate_per_s": 30}, router=TARGETS)
    tried: list[dict[str, int]] = []
    replicas, summary = capacity(asked, lambda one, _: tried.append(one))
    assert meets(asked, summary)
    assert replicas in tried
    assert max(replicas.values()) > 1
    for name, num in replicas.items():
        if num > 1:
            fewer = with_replicas(asked, replicas | {name: num - 1})
            assert not meets(fewer, summarise(simulate(fewer)))


def test_more_load_needs_no_fewer_gpus() -> None:
    """Nor does a stricter share."""
    sizes = []
    for rate_per_s, share in ((5, 0.9), (20, 0.9), (60, 0.9), (60, 0.99)):
        source = {"kind": "poisson", "rate_per_s": rate_per_s}
        sizes.append(sum(capacity(scenario(arrivals=source, router=TARGETS, meets=share))[0].values()))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_what_no_cluster_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said, instead of searched for ever."""
    monkeypatch.setattr("serve_app.simulator.capacity.MOST_REPLICAS", 4)
    with pytest.raises(ConfigError, match=r"meets=0.95 is not reached with 4 replicas of a pool"):
        capacity(scenario(router={"targets": {"none": {"total_s": 0.001}}}))
