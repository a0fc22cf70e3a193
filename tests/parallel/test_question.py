"""Questions that contradict themselves, and how many replicas a cluster takes."""

from dataclasses import replace
from typing import Any

import pytest

from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.plan import ParallelPlan
from parallel.question import Cluster, Question
from parallel.speed import Load

QUESTION = Question(Cluster(H200, 2), WeightFormat.FP8, 262_144, "latency", Load(8))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": "speed"}, "objective='speed' must be one of throughput, latency, cost"),
        ({"context_tokens": 2_000_000}, "context=2000000 is more than the model's 1048576"),
        ({"context_tokens": 1000}, r"context=1000 is less than prompt\+answer=1024\+512=1536"),
        ({"correlation": -0.5}, "correlation=-0.5 must be from 0 to 1"),
        ({"memory_utilization": 1.1}, "memory_utilization=1.1 must be above 0 and at most 1"),
    ],
)
def test_refused_questions(fields: dict[str, Any], message: str) -> None:
    """Both values are named."""
    with pytest.raises(ValueError, match=message):
        replace(QUESTION, **fields)


@pytest.mark.parametrize(("gpus", "nodes", "message"), [(0, 1, "gpus_per_node=0"), (1, 0, "nodes=0")])
def test_refused_clusters(gpus: int, nodes: int, message: str) -> None:
    """There is at least one GPU on at least one node."""
    with pytest.raises(ValueError, match=f"{message} must be at least 1"):
        Cluster(H200, gpus, nodes)


@pytest.mark.parametrize(
    ("plan", "replicas"),
    [
        (ParallelPlan(), 24),
        (ParallelPlan(tp=2), 12),
        (ParallelPlan(tp=8), 3),
        (ParallelPlan(tp=16, nodes=2), 1),
        (ParallelPlan(dp=3), 6),
        (ParallelPlan(tp=4, nodes=2), 4),
    ],
)
def test_replicas_of_three_nodes_of_eight(plan: ParallelPlan, replicas: int) -> None:
    """A replica stays on its nodes, and what no whole replica fills is left."""
    assert Cluster(H200, 8, 3).most_replicas(plan) == replicas
    assert str(Cluster(H200, 8, 3)) == "3 nodes of 8xH200"
