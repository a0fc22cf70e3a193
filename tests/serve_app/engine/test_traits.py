"""What is known of a pool from its settings alone."""

from typing import Any

import pytest

from serve_app import config
from serve_app.engine.traits import step_tables, traits
from serve_app.types import Effort, PoolSnapshot
from tests.serve_app.samples import args

L = "pools.latency"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, PoolSnapshot("latency", frozenset({Effort.HIGH}))),
        (
            {
                f"{L}.engine": {"max_num_seqs": 8, "max_model_len": 8192},
                f"{L}.speculation": {"draft": "deploy/pocket/eagle", "max_model_len": 4096},
            },
            PoolSnapshot("latency", frozenset({Effort.HIGH}), (), True, 8, 8192, 4096, biases_drafts=True),
        ),
        (
            {f"{L}.device": "cpu", f"{L}.speculation": {"draft": "deploy/pocket/eagle"}},
            PoolSnapshot("latency", frozenset({Effort.HIGH}), speculates=True),
        ),
        (
            {
                f"{L}.env": {"VLLM_USE_V2_MODEL_RUNNER": "0"},
                f"{L}.speculation": {"draft": "deploy/pocket/eagle"},
            },
            PoolSnapshot("latency", frozenset({Effort.HIGH}), speculates=True),
        ),
        (
            {f"{L}.autoscaling": {"min_replicas": 0, "max_replicas": 2}},
            PoolSnapshot("latency", frozenset({Effort.HIGH}), may_sleep=True),
        ),
        (
            {f"{L}.autoscaling": {"max_replicas": 2}},
            PoolSnapshot("latency", frozenset({Effort.HIGH})),
        ),
        (
            {f"{L}.engine": {"max_num_seqs": 8}, f"{L}.plan": {"dp": 2}},
            PoolSnapshot("latency", frozenset({Effort.HIGH}), max_num_seqs=16),
        ),
        (
            {f"{L}.max_ongoing_requests": 64, f"{L}.plan": {"dp": 2}},
            PoolSnapshot("latency", frozenset({Effort.HIGH}), max_num_seqs=64),
        ),
        (
            {
                f"{L}.upstream": {
                    "url": "http://there/v1",
                    "serves": ["high"],
                    "dialects": ["chat", "messages"],
                    "max_ongoing_requests": 9,
                    "max_model_len": 4096,
                },
                "ingress.replicas": 2,
            },
            PoolSnapshot(
                "latency",
                frozenset({Effort.HIGH}),
                max_num_seqs=5,
                max_model_len=4096,
                routes=frozenset({"/v1/chat/completions", "/v1/messages"}),
                serves=frozenset({Effort.HIGH}),
            ),
        ),
    ],
)
def test_traits(changes: dict[str, Any], wanted: PoolSnapshot) -> None:
    """Efforts, limits, draft head; two groups have twice the places, up to the requests taken."""
    assert traits(config.parse(args(changes)), "latency") == wanted


def test_step_tables() -> None:
    """A pool whose GPU is known has a table, one row for each number of draft tokens; another has none."""
    changes = {
        f"{L}.gpu": "H200",
        f"{L}.engine": {"max_num_seqs": 16},
        f"{L}.speculation": {"draft": "not-here", "max_draft_tokens": 2},
        "model.path": "not-here",
        "model.weight_format": "fp8",
    }
    (name, table), *others = step_tables(config.parse(args(changes))).items()
    assert (name, others) == ("latency", [])
    assert [len(row) for row in table.step_s] == [16, 16, 16]
    assert 0.003 < table.step(1) < table.step(16) < table.step(16, 2) < 0.1


def test_a_server_that_is_not_ours_has_a_table_of_its_own() -> None:
    """What it is given is a part of its batch, so that its steps take as long whatever that part is."""
    there = {"efforts": ["none"], "upstream": {"url": "http://there/v1"}}
    table = step_tables(config.parse(args({"pools.throughput": there})))["throughput"]
    assert table.step(1) == table.step(1000)
