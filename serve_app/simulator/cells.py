"""How is a cluster simulated that is many equal ones behind a load balancer?

A router looks at each of its replicas for every request, so nobody gives it a thousand. Requests that come
independently of each other, and are dealt out by chance, come independently of each other to every cell.
"""

from collections.abc import Callable

from serve_app.simulator.cluster import Result, simulate
from serve_app.simulator.scenario import Poisson, Scenario, Square

SEED_STEP = 1_000_003
"""Between the seeds of two cells: larger than what else is added to a seed."""


def simulate_cells(scenario: Scenario, progress: Callable[[int], object] = lambda _: None) -> Result:
    """Play every cell of a scenario, one after another, and put together what came of them."""
    if scenario.cells == 1:
        return simulate(scenario, progress)
    parts = [simulate(cell(scenario, number), progress) for number in range(scenario.cells)]
    return Result(
        scenario,
        tuple(record for part in parts for record in part.records),
        max(part.end_s for part in parts),
        {name: sum(part.gpu_s[name] for part in parts) for name in scenario.pools},
        {name: max(part.kv_most[name] for part in parts) for name in scenario.pools},
    )


def cell(scenario: Scenario, number: int) -> Scenario:
    """Return one cell: its share of replicas and requests; what fails, fails in the first."""
    num_cells, source = scenario.cells, scenario.arrivals
    if isinstance(source, Poisson):
        rates = {"rate_per_s": source.rate_per_s / num_cells}
    else:
        assert isinstance(source, Square)
        rates = {"low_per_s": source.low_per_s / num_cells, "high_per_s": source.high_per_s / num_cells}
    return scenario.model_copy(
        update={
            "cells": 1,
            "seed": scenario.seed + number * SEED_STEP,
            "arrivals": source.model_copy(update=rates),
            "failures": scenario.failures if number == 0 else (),
            "pools": {
                name: pool.model_copy(update={"replicas": pool.replicas // num_cells})
                for name, pool in scenario.pools.items()
            },
        }
    )
