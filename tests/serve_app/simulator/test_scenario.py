"""Is a wrong scenario refused by a line that names the key and both values?"""

from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import ConfigError
from serve_app.simulator.scenario import Trace, load, parse
from tests.serve_app.simulator.small import TWO_POOLS

ARRIVALS = {"kind": "poisson", "rate_per_s": 1}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"arivals": 1}, "arivals: unknown key; did you mean 'arrivals'?"),
        ({"arrivals": None}, "arrivals: "),
        (
            {"arrivals": {"kind": "poisson", "rate_per_s": 0}},
            "rate_per_s: Input should be greater than 0, not 0",
        ),
        ({"gpu": "H2"}, "no GPU named 'H2'; known: "),
        ({"warm_up_s": 200}, "warm_up_s=200 must be less than duration_s=120"),
        ({"efforts": {"none": {"share": 0.5}, "high": {"share": 0.6}}}, "none.share=0.5 and high.share=0.6"),
        (
            {"efforts": {"none": {"share": 0.5, "prompt": {"median": 9, "most": 8}}}},
            "most=8 must be at least median=9",
        ),
        ({"pools": {"one": {"efforts": ["none"]}}}, "no pool serves effort 'high'; pools: one"),
        (
            {"failures": [{"at_s": 1, "pool": "three"}]},
            "no pool is named 'three'; there are throughput, latency",
        ),
        ({"cells": 2}, "cells=2 must divide pools.throughput.replicas=1"),
        (
            {"cells": 2, "arrivals": {"kind": "closed", "concurrency": 1, "num_requests": 1}},
            "cells=2 cannot be with",
        ),
        ({"router": {"spill_ower": True}}, "router.spill_ower: unknown key; did you mean 'spill_over'?"),
        (
            {"pools": TWO_POOLS | {"x": {"efforts": ["none"], "max_num_batched_tokens": 8}}},
            "max_num_batched_tokens=8 must be at least max_num_seqs=256 times 1",
        ),
        (
            {"pools": TWO_POOLS | {"x": {"efforts": ["none"], "speculation": {"acceptance": [0.5, 0.6]}}}},
            "acceptance=[0.5, 0.6] must not rise",
        ),
        (
            {"pools": TWO_POOLS | {"x": {"efforts": ["none"], "plan": {"tp": 2, "nodes": 3}}}},
            "nodes=3 does not divide tp*dp=2*1=2",
        ),
        (
            {
                "pools": TWO_POOLS
                | {
                    "x": {
                        "efforts": ["none"],
                        "autoscaling": {"min_replicas": 3, "max_replicas": 2, "target_ongoing_requests": 1},
                    }
                }
            },
            "max_replicas=2 must be at least min_replicas=3",
        ),
    ],
)
def test_mistakes(changes: dict[str, Any], line: str) -> None:
    """One mistake, one line."""
    with pytest.raises(ConfigError) as refusal:
        parse({"arrivals": ARRIVALS, "pools": TWO_POOLS} | changes)
    print(refusal.value.problems)
    assert any(line in problem for problem in refusal.value.problems)


def test_a_trace_is_found_beside_its_scenario(tmp_path: Path) -> None:
    """Whatever the working directory is."""
    path = tmp_path / "one.yaml"
    path.write_text("arrivals: {kind: trace, file: t.jsonl}\npools: {a: {efforts: [none, high]}}\n")
    source = load(path).arrivals
    assert isinstance(source, Trace)
    assert source.file == tmp_path / "t.jsonl"


@pytest.mark.parametrize("text", [None, "a: [", "- 1"])
def test_files_that_are_none(tmp_path: Path, text: str | None) -> None:
    """Not there, not YAML, not a mapping."""
    path = tmp_path / "one.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError):
        load(path)
