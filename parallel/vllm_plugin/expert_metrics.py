"""What is the expert load of an engine, asked from the process that serves HTTP, and which metrics say so?

No series has an expert in it: with 36 layers of 128 that would be 4,608 of them for each replica.
"""

import asyncio
from typing import Any

import numpy as np
from prometheus_client import Counter, Gauge

from parallel.load import ExpertLoad, Reading, in_order
from parallel.placement.maps import Placement
from parallel.vllm_plugin import EXPERT_COUNTER

READ = "expert_reading"
"""What a worker that counts is asked for over vLLM's `collective_rpc`."""

BALANCEDNESS = Gauge(
    "venturi_expert_balancedness",
    "Mean over max of the ranks' loads lately, of all layers (mean) and of the least balanced (worst)",
    ["layers"],
)
HOTTEST_SHARE = Gauge(
    "venturi_hottest_expert_share",
    "Share of a layer's choices that its hottest expert had lately, of all layers (mean) or most (worst)",
    ["layers"],
)
RANK_LOAD = Gauge(
    "venturi_expert_rank_load", "Share of the experts' work of all layers that a rank had lately", ["rank"]
)
REARRANGEMENTS = Counter(
    "venturi_expert_rearrangements", "Readings that found experts in other places than the one before"
)
MOVED = Counter("venturi_experts_moved", "Weights of experts that ranks got from others, over all layers")


def counts_experts(engine: Any) -> bool:
    """Whether the workers of an `AsyncLLM` count."""
    return bool(engine.vllm_config.parallel_config.worker_cls == EXPERT_COUNTER)


async def read(engine: Any) -> Reading:
    """Ask every rank of an `AsyncLLM` whose workers count. Raises what vLLM raises of a dead engine."""
    # The public `collective_rpc` asks all data-parallel engines, and returns the first one's answer alone.
    client = engine.engine_core
    asked = (
        client._call_utility_async("collective_rpc", READ, None, (), None, engine=each)
        for each in client.core_engines
    )
    answers = [rank for ranks in await asyncio.gather(*asked) for rank in ranks]
    return reading(answers, engine.vllm_config.parallel_config)


def reading(answers: list[dict[str, Any]], parallel_config: Any) -> Reading:
    """The answers of all ranks as one reading."""
    counts = np.array([answer["counts"] for answer in answers], dtype=np.int64).sum(axis=0)
    ranks = 1
    if parallel_config.enable_expert_parallel:
        ranks = parallel_config.tensor_parallel_size * parallel_config.data_parallel_size
    if (slots := answers[0]["slots"]) is None:
        return Reading(counts, in_order(counts, ranks))
    return Reading(counts, Placement(np.array(slots, dtype=np.int64), counts.shape[1], ranks))


class ExpertMetrics:
    """The metrics of one engine."""

    def __init__(self) -> None:
        self._rearrangements = 0
        self._experts_moved = 0

    def publish(self, load: ExpertLoad) -> None:
        """Show the load of the latest window."""
        for name, values, worst in (
            (BALANCEDNESS, load.balancedness, np.min),
            (HOTTEST_SHARE, load.hottest_share, np.max),
        ):
            name.labels("mean").set(float(values.mean()))
            name.labels("worst").set(float(worst(values)))
        for rank, share in enumerate(load.rank_shares):
            RANK_LOAD.labels(str(rank)).set(float(share))
        REARRANGEMENTS.inc(load.rearrangements - self._rearrangements)
        MOVED.inc(load.experts_moved - self._experts_moved)
        self._rearrangements, self._experts_moved = load.rearrangements, load.experts_moved
