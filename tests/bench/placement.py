"""Is our placement of experts better than vLLM's default, and what does it cost?

    python -m tests.bench.placement [--ranks N] [--redundant N] [--windows N] [--seeds N]

Needs no engine. Each row is a series of windows: experts are placed by the counts of one window, starting
from where the window before has left them (the first one from vLLM's initial placement), and the next window
shows what that is worth. The columns: mean and worst balancedness of a layer; the fullest rank over the lower
bound; balancedness in the next window; experts moved a layer in the first placement and in each later one;
milliseconds a call for all layers.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from parallel.placement import Placement, balancedness, experts_moved, initial, lower_bound, place, rank_loads
from parallel.placement.maps import Floats
from tests.bench.expert_loads import KINDS, counts

LAYERS, EXPERTS = 36, 128

Policy = Callable[[Floats, Placement], Placement]


@dataclass
class Row:
    """What a policy did to one kind of load; a number a layer and window, but for the milliseconds."""

    now: list[Floats] = field(default_factory=list)
    after: list[Floats] = field(default_factory=list)
    """Balancedness in the window after the one that experts were placed by."""
    over_bound: list[Floats] = field(default_factory=list)
    moved_first: list[Floats] = field(default_factory=list)
    moved: list[Floats] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--ranks", type=int, default=8)
    options.add_argument("--redundant", type=int, default=16)
    options.add_argument("--windows", type=int, default=8)
    options.add_argument("--seeds", type=int, default=3)
    given = options.parse_args()
    from parallel.vllm_plugin.eplb_policy import TOLERANCE

    policies: dict[str, Policy] = {
        "vLLM's default": default,
        "`place`": partial(placed, tolerance=0.0),
        "`steady`": partial(placed, tolerance=TOLERANCE),
    }
    print(f"{LAYERS} layers, {EXPERTS} experts, {given.redundant} redundant, {given.ranks} ranks\n")
    print("| load | policy | balancedness | worst | over bound | next window | moved first | then | ms |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in KINDS:
        series = [counts(kind, seed, given.windows, LAYERS, EXPERTS) for seed in range(given.seeds)]
        for name, policy in policies.items():
            row = Row()
            for windows in series:
                follow(windows, policy, given.ranks, given.redundant, row)
            print(f"| {kind} | {name} | {line(row)} |", flush=True)


def line(row: Row) -> str:
    """Return the row's numbers as cells."""
    cells = [
        f"{np.mean(row.now):.4f}",
        f"{np.min(row.now):.4f}",
        f"{np.mean(row.over_bound):.2%}",
        f"{np.mean(row.after):.4f}",
        f"{np.mean(row.moved_first):.1f}",
        f"{np.mean(row.moved):.1f}",
        f"{np.median(row.took_ms):.0f}",
    ]
    return " | ".join(cells)


def follow(windows: Floats, policy: Policy, ranks: int, redundant: int, row: Row) -> None:
    """Place experts by each window but the last, and add what came of it to the row."""
    at = initial(LAYERS, EXPERTS, ranks, redundant)
    for nth, (load, following) in enumerate(pairwise(windows)):
        began_s = time.perf_counter()
        new = policy(load, at)
        row.took_ms.append((time.perf_counter() - began_s) * 1e3)
        row.now.append(balancedness(load, new))
        row.after.append(balancedness(following, new))
        row.over_bound.append(rank_loads(load, new).max(axis=1) / lower_bound(load, ranks, redundant) - 1)
        (row.moved if nth else row.moved_first).append(experts_moved(at, new).astype(np.float64))
        at = new


def placed(load: Floats, at: Placement, tolerance: float) -> Placement:
    """Place experts with this project's function; its policy for vLLM is that with a tolerance."""
    return place(
        load,
        ranks=at.ranks,
        redundant=at.physical_to_logical.shape[1] - at.num_experts,
        current=at.physical_to_logical,
        tolerance=tolerance,
    )


def default(load: Floats, at: Placement) -> Placement:
    """Place experts with vLLM's policy."""
    from vllm.distributed.eplb.policy.default import DefaultEplbPolicy

    slots = at.physical_to_logical.shape[1]
    found = DefaultEplbPolicy.rebalance_experts(
        torch.from_numpy(load), slots, 1, 1, at.ranks, torch.from_numpy(at.physical_to_logical)
    )
    return Placement(found.numpy(), at.num_experts, at.ranks)


if __name__ == "__main__":
    main()
