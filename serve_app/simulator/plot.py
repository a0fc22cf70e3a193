"""How does a run look over time? Requests in flight and times to the first token, by effort."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from serve_app.errors import ConfigError
from serve_app.simulator.cluster import Result
from serve_app.simulator.outcome import times_of
from serve_app.types import Effort


def plot(results: Mapping[str, Result], path: Path) -> None:
    """Write a picture, a column for each scenario. ConfigError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(["--plot needs matplotlib, which is in venturi[dev]"]) from None
    figure = Figure(figsize=(6 * len(results), 8), layout="constrained")
    axes = figure.subplots(3, len(results), sharex="col", squeeze=False)
    for column, (name, result) in enumerate(results.items()):
        in_flight, ttft, per_token = axes[:, column]
        for effort in Effort:
            records = [one for one in result.records if one.arrival.effort is effort]
            if not records:
                continue
            begins = np.sort([one.arrival.at_s for one in records])
            ends = np.sort([one.end_s for one in records])
            at_s = np.linspace(0, result.end_s, 500)
            there = np.searchsorted(begins, at_s, "right") - np.searchsorted(ends, at_s, "right")
            in_flight.plot(at_s, there, label=effort.value)
            arrived = [one.arrival.at_s for one in records]
            ttft.scatter(arrived, [times_of(one)[0] for one in records], s=2)
            per_token.scatter(arrived, [1e3 * times_of(one)[1] for one in records], s=2)
        in_flight.set(title=f"{name} (simulated)", ylabel="requests in flight")
        in_flight.legend()
        ttft.set(ylabel="time to first token, s")
        per_token.set(ylabel="time a token, ms", xlabel="s")
    figure.savefig(path)
