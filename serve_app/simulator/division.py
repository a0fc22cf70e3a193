"""Two pools, or the same GPUs as one pool of equal replicas?"""

from collections.abc import Iterator, Mapping

from serve_app.errors import ConfigError
from serve_app.simulator.capacity import with_replicas
from serve_app.simulator.scenario import Scenario
from serve_app.types import Effort

MARGIN = 1.22
"""So many times the goodput of no split must a split have: each prediction may be off by 10 %."""


def divisions(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    """Yield the ways to divide the GPUs of a scenario with two pools, each by its name.

    First each pool's engines alone, for both efforts; then both, with every number of replicas from one up
    that leaves one to the other. Raises ConfigError if there are not two pools, or not of one plan.
    """
    if len(scenario.pools) != 2:
        raise ConfigError([f"pools: a division is of 2 pools, not {len(scenario.pools)}"])
    (first, one), (second, other) = scenario.pools.items()
    if one.plan != other.plan:
        raise ConfigError([f"pools.{first}.plan and pools.{second}.plan must be equal to be exchanged"])
    num_replicas = one.replicas + other.replicas
    for name, pool in scenario.pools.items():
        alone = pool.model_copy(
            update={"replicas": num_replicas, "efforts": tuple(Effort), "autoscaling": None}
        )
        yield f"all {name}", scenario.model_copy(update={"pools": {name: alone}, "cells": 1})
    for num in range(1, num_replicas):
        replicas = {first: num, second: num_replicas - num}
        yield f"{num} {first} + {num_replicas - num} {second}", with_replicas(scenario, replicas)


def choose(goodputs: Mapping[str, float], margin: float = MARGIN) -> str:
    """Return the division to take, of the names that `divisions` gave.

    The best without a split, unless the best split has more than `margin` times its goodput: one pool is
    simpler, and stays right when the mix changes. ValueError without an undivided one.
    """
    whole = {name: value for name, value in goodputs.items() if name.startswith("all ")}
    split = {name: value for name, value in goodputs.items() if name not in whole}
    if not whole:
        raise ValueError(f"no undivided cluster among {', '.join(goodputs)}")
    best = max(whole, key=whole.__getitem__)
    if split:
        rival = max(split, key=split.__getitem__)
        if split[rival] > margin * whole[best]:
            return rival
    return best
