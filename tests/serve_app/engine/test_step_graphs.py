"""Which steps of a pool are CUDA graphs, and how large is a full one?"""

from typing import Any

import pytest

from serve_app.config import parse
from serve_app.engine.step_graphs import full_step_tokens, recorded_tokens
from tests.serve_app.samples import args

T = "pools.throughput"
GPU: dict[str, Any] = {"model.path": "/models/not-here", "model.weight_format": "fp8", f"{T}.gpu": "H200"}
DRAFTS = {f"{T}.speculation": {"draft": "/models/head", "max_draft_tokens": 3}}


@pytest.mark.parametrize(
    ("engine", "tokens"),
    [
        ({}, 512),
        ({"enforce_eager": True}, 0),
        ({"max_cudagraph_capture_size": 64}, 64),
        ({"cudagraph_capture_sizes": [1, 96, 8]}, 96),
        ({"compilation_config": {"cudagraph_capture_sizes": [4, 2048]}}, 2048),
        ({"compilation_config": {"max_cudagraph_capture_size": 1024}}, 1024),
        ({"compilation_config": {"mode": 3}}, 512),
        ({"compilation_config": 3}, 512),
    ],
)
def test_what_is_recorded(engine: dict[str, Any], tokens: int) -> None:
    """What the operator says, or what vLLM does by itself."""
    assert recorded_tokens(parse(args(GPU | {f"{T}.engine": engine})).pools["throughput"]) == tokens


def test_nothing_is_recorded_without_a_gpu() -> None:
    """A pool on CPUs has no CUDA graphs."""
    assert recorded_tokens(parse(args({})).pools["throughput"]) == 0


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({f"{T}.engine": {"max_num_seqs": 512}}, 512),
        ({f"{T}.engine": {"max_num_seqs": 512}} | DRAFTS, 2048),
        ({f"{T}.engine": {}}, 256),
    ],
)
def test_a_full_step(changes: dict[str, Any], tokens: int) -> None:
    """A token of each request, and its drafts."""
    assert full_step_tokens(parse(args(GPU | changes)).pools["throughput"]) == tokens
