"""Scenarios and engines that are quick to simulate."""

from typing import Any

from serve_app.simulator.engine import EngineSpec
from serve_app.simulator.scenario import Scenario, parse
from serve_app.simulator.step_times import StepTimes

EAGLE = {"speculation": {"acceptance": [0.75, 0.5, 0.35]}}
TWO_POOLS: dict[str, Any] = {
    "throughput": {"efforts": ["none"], "max_num_seqs": 64},
    "latency": {"efforts": ["high"], "max_num_seqs": 8, **EAGLE},
}


def scenario(**changes: Any) -> Scenario:
    """Return two small pools under a light load, but for the changes."""
    tree: dict[str, Any] = {
        "duration_s": 20,
        "arrivals": {"kind": "poisson", "rate_per_s": 3},
        "efforts": {
            "none": {"share": 0.5, "prompt": {"median": 512, "sigma": 0.5}, "answer": {"median": 64}},
            "high": {"share": 0.5, "prompt": {"median": 512}, "answer": {"median": 128, "sigma": 0.5}},
        },
        "pools": TWO_POOLS,
    }
    return parse(tree | changes)


def spec(**changes: Any) -> EngineSpec:
    """Return an engine whose steps take a millisecond, more for each token and for context."""
    times = StepTimes(
        layers_s=tuple(1e-3 + 1e-5 * n for n in range(1, 513)),
        head_s=tuple(1e-6 * n for n in range(512)),
        draft_s=(0.0,) * 512,
        decode_context_s=1e-7,
        alone_context_s=1e-7,
        prefill_context_s=1e-9,
    )
    given: dict[str, Any] = {
        "times": times,
        "num_gpus": 1,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 64,
        "kv_tokens": 500,
    }
    return EngineSpec(**(given | changes))
