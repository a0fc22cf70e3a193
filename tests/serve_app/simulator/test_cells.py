"""Do cells together have the replicas and the requests of the scenario?"""

import pytest

from serve_app.simulator.cells import simulate_cells
from tests.serve_app.simulator.small import TWO_POOLS, scenario


def test_cells_share_replicas_and_requests() -> None:
    """Each is another cluster with other requests; all GPUs are counted."""
    pools = {name: pool | {"replicas": 4} for name, pool in TWO_POOLS.items()}
    source = {"kind": "poisson", "rate_per_s": 40}
    result = simulate_cells(scenario(cells=4, pools=pools, arrivals=source))
    assert len(result.records) == pytest.approx(800, rel=0.15)
    assert len({record.arrival.at_s for record in result.records}) == len(result.records)
    assert sum(result.gpu_s.values()) >= 8 * 20
    assert all(record.outcome == "answered" for record in result.records)


def test_a_failure_is_one_failure() -> None:
    """It does not happen in every cell."""
    pools = {name: pool | {"replicas": 2} for name, pool in TWO_POOLS.items()}
    failures = [{"at_s": 5, "pool": "latency", "restart_s": 100}]
    result = simulate_cells(scenario(cells=2, pools=pools, failures=failures, router={"spill_over": False}))
    lost = [r for r in result.records if r.arrival.at_s > 5 and r.outcome == "refused"]
    served = [r for r in result.records if r.arrival.at_s > 5 and r.pool == "latency"]
    assert lost
    assert served
