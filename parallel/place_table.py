"""How even is a recorded load of experts, and how even would it be in better places?"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from parallel.load import ExpertLoad
from parallel.placement import Placement, balancedness, experts_moved, lower_bound, place
from parallel.placement.maps import Floats, Ints
from parallel.recording import Window

SHADES = " .:-=+*#%@"
"""From no load to four times the mean or more."""


@dataclass(frozen=True, eq=False)
class Placed:
    """All windows of a recording in one, and the placement that suits them."""

    load: ExpertLoad
    placement: Placement
    redundant: int

    @property
    def balancedness(self) -> Floats:
        """[layers]: what the placement makes of this load."""
        return balancedness(self.load.counts.astype(np.float64), self.placement)

    @property
    def best(self) -> Floats:
        """[layers]: no placement is more balanced than this."""
        counts = self.load.counts.astype(np.float64)
        bound = lower_bound(counts, self.placement.ranks, self.redundant)
        mean = counts.sum(axis=1) / self.placement.ranks
        return np.where(bound > 0, mean / np.where(bound > 0, bound, 1), 1.0)

    @property
    def moved(self) -> Ints | None:
        """[layers]: experts that ranks have to get from others; None if the slots are others in number."""
        now = self.load.placement
        if now.by_rank().shape != self.placement.by_rank().shape:
            return None
        return experts_moved(now, self.placement)


def placed(windows: list[Window], redundant: int = 0, nodes: int = 1) -> Placed:
    """Place experts by the sum of all windows, from where they were in the last one.

    ValueError as `placement.place` raises it.
    """
    last = windows[-1].load
    counts = np.sum([window.load.counts for window in windows], axis=0)
    now, slots = last.placement, last.counts.shape[1] + redundant
    found = place(
        counts.astype(np.float64),
        ranks=now.ranks,
        redundant=redundant,
        nodes=nodes,
        current=now.physical_to_logical if now.physical_to_logical.shape[1] == slots else None,
    )
    return Placed(ExpertLoad(counts, now), found, redundant)


def text(windows: list[Window], found: Placed) -> str:
    """Each window by itself, then layer by layer the load, and what the placement makes of it."""
    counts = found.load.counts
    layers, experts = counts.shape
    placement, moved = found.placement, found.moved
    lines = [
        f"{layers} layers of {experts} experts on {placement.ranks} ranks",
        "",
        "| window | choices | hottest expert | balancedness | worst layer |",
        "|---|---:|---:|---:|---:|",
    ]
    for window in windows:
        load = window.load
        lines.append(
            f"| {window.name} | {load.counts.sum()} | {load.hottest_share.max():.1%} | "
            f"{load.balancedness.mean():.3f} | {load.balancedness.min():.3f} |"
        )
    lines += [
        "",
        f"all windows, and the best placement found with {found.redundant} redundant experts",
        "",
        "| layer | hottest expert | balancedness | placed | at best | experts moved |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    now, then, best = found.load.balancedness, found.balancedness, found.best
    for layer in range(layers):
        hottest, share = counts[layer].argmax(), found.load.hottest_share[layer]
        moves = "-" if moved is None else str(moved[layer])
        lines.append(
            f"| {layer} | {hottest} ({share:.1%}) | {now[layer]:.3f} | {then[layer]:.3f} | "
            f"{best[layer]:.3f} | {moves} |"
        )
    lines += ["", "load by layer and expert; @ is four times a layer's mean or more", ""]
    lines += [f"{layer:>3} {shades(row)}" for layer, row in enumerate(counts)]
    return "\n".join(lines)


def shades(counts: Ints) -> str:
    """A character an expert, [experts] -> SHADES."""
    mean = max(float(counts.mean()), 1e-9)
    steps = np.minimum(np.ceil(counts / mean / 4 * (len(SHADES) - 1)), len(SHADES) - 1)
    return "".join(SHADES[int(step)] for step in steps)


def json_values(windows: list[Window], found: Placed) -> dict[str, Any]:
    """Plain values: the load, and the placement as the expert in each slot."""
    return {
        "windows": [{"name": window.name} | window.load.values() for window in windows],
        "placed": {
            "ranks": found.placement.ranks,
            "redundant": found.redundant,
            "balancedness": [round(float(one), 4) for one in found.balancedness],
            "at_best": [round(float(one), 4) for one in found.best],
            "experts_moved": None if found.moved is None else found.moved.tolist(),
            "slots": found.placement.physical_to_logical.tolist(),
        },
    }
