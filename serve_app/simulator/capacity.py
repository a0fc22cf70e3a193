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

    Pools whose efforts miss the targets are doubled until none does, then each is bisected, the first one
    first: in its turn no pool could be one smaller. Another division may still do with fewer GPUs, since
    more replicas of one pool can harm the other's requests (they spill over to it, and are late there).
    Raises ConfigError if no cluster meets the targets.
    """

    def attempt(replicas: dict[str, int]) -> tuple[Summary, bool]:
        sized = with_replicas(scenario, replicas)
        summary = summarise(simulate(sized))
        is_enough = meets(sized, summary)
        note(replicas, is_enough)
        return summary, is_enough

    replicas = dict.fromkeys(scenario.pools, 1)
    found, is_enough = attempt(replicas)
    while not is_enough:
        late = {effort for effort, group in found.efforts.items() if group.met_share < scenario.meets}
        replicas = {
            name: num * (1 if late.isdisjoint(scenario.pools[name].efforts) else 2)
            for name, num in replicas.items()
        }
        if max(replicas.values()) > MOST_REPLICAS:
            raise ConfigError(
                [
                    f"meets={scenario.meets:g} is not reached with {MOST_REPLICAS} replicas of a pool: "
                    f"a request alone misses the targets, or the policy sends too many elsewhere"
                ]
            )
        found, is_enough = attempt(replicas)
    for name in replicas:
        too_few, enough = 0, replicas[name]
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            tried, is_enough = attempt(replicas | {name: middle})
            if is_enough:
                enough, found = middle, tried
            else:
                too_few = middle
        replicas[name] = enough
    return replicas, found
