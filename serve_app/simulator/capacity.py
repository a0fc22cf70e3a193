"""How small may a cluster be that still meets the targets?"""

from collections.abc import Callable

from serve_app.errors import ConfigError
from serve_app.simulator.cluster import simulate
from serve_app.simulator.outcome import Summary, summarise
from serve_app.simulator.scenario import Scenario

MOST_REPLICAS = 4096
"""Of a pool: where the search gives up."""


def with_replicas(scenario: Scenario, replicas: dict[str, int]) -> Scenario:
    """Return the scenario with so many replicas of each pool, fixed."""
    pools = {
        name: pool.model_copy(update={"replicas": replicas[name], "autoscaling": None})
        for name, pool in scenario.pools.items()
    }
    return scenario.model_copy(update={"pools": pools, "cells": 1})


def meets(scenario: Scenario, summary: Summary) -> bool:
    """Whether enough of each effort's requests kept the targets."""
    return all(group.met_share >= scenario.meets for group in summary.efforts.values())


def capacity(
    scenario: Scenario, note: Callable[[dict[str, int], bool], object] = lambda *_: None
) -> tuple[dict[str, int], Summary]:
    """Return the replicas of each pool, and what they do; `note` is told of every cluster that is tried.

    All pools are doubled until the targets are met, then each is halved in upon, the first one first. So no
    single pool can be smaller; another division of as many GPUs may do too. Raises ConfigError if no cluster
    meets the targets.
    """

    def attempt(replicas: dict[str, int]) -> Summary | None:
        sized = with_replicas(scenario, replicas)
        summary = summarise(simulate(sized))
        is_enough = meets(sized, summary)
        note(replicas, is_enough)
        return summary if is_enough else None

    replicas = dict.fromkeys(scenario.pools, 1)
    found = attempt(replicas)
    while found is None:
        replicas = {name: 2 * num for name, num in replicas.items()}
        if max(replicas.values()) > MOST_REPLICAS:
            raise ConfigError(
                [
                    f"meets={scenario.meets:g} is not reached with {MOST_REPLICAS} replicas a pool: "
                    f"a request alone misses the targets, or the mix is too uneven"
                ]
            )
        found = attempt(replicas)
    for name in replicas:
        too_few, enough = 0, replicas[name]
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            tried = attempt(replicas | {name: middle})
            if tried is None:
                too_few = middle
            else:
                enough, found = middle, tried
        replicas[name] = enough
    return replicas, found
