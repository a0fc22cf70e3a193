"""How ranks' answers become one reading, and which series show it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from parallel.load import ExpertLoad, in_order
from parallel.vllm_plugin import EXPERT_COUNTER
from parallel.vllm_plugin.expert_metrics import READ, ExpertMetrics, counts_experts, read, reading

COUNTS = [[6, 2, 0, 0], [1, 1, 1, 1]]


def config(**changes: Any) -> Any:
    """A parallel configuration of two tensor-parallel ranks with experts apart."""
    given = {
        "enable_expert_parallel": True,
        "tensor_parallel_size": 2,
        "data_parallel_size": 1,
        "worker_cls": EXPERT_COUNTER,
    }
    return SimpleNamespace(**(given | changes))


def value(name: str, **labels: str) -> float | None:
    """The value of a series."""
    return REGISTRY.get_sample_value(f"venturi_{name}", labels)


class Client:
    """An engine client of two data-parallel engines, with one rank each."""

    core_engines = (b"0", b"1")

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def _call_utility_async(self, method: str, *args: Any, engine: bytes) -> list[Any]:
        self.asked.append((method, args[0], engine))
        return [{"counts": COUNTS, "slots": None}]


async def test_every_rank_of_every_engine_is_asked() -> None:
    """The ranks of all engines add up."""
    client = Client()
    parallel_config = config(tensor_parallel_size=1, data_parallel_size=2)
    engine = SimpleNamespace(engine_core=client, vllm_config=SimpleNamespace(parallel_config=parallel_config))
    found = await read(engine)
    assert client.asked == [("collective_rpc", READ, b"0"), ("collective_rpc", READ, b"1")]
    assert found.counts.tolist() == (2 * np.array(COUNTS)).tolist()
    assert found.placement.ranks == 2
    assert counts_experts(engine)
    parallel_config.worker_cls = "an.operators.Worker"
    assert not counts_experts(engine)


@pytest.mark.parametrize(
    ("slots", "changes", "ranks", "wanted"),
    [
        (None, {}, 2, [[0, 1, 2, 3]] * 2),
        (None, {"enable_expert_parallel": False}, 1, [[0, 1, 2, 3]] * 2),
        ([[0, 2, 1, 3, 0, 1]] * 2, {}, 2, [[0, 2, 1, 3, 0, 1]] * 2),
    ],
)
def test_where_the_experts_are(slots: Any, changes: Any, ranks: int, wanted: Any) -> None:
    """Where vLLM put them, or in order; without expert parallelism every rank has a slice of each."""
    found = reading([{"counts": COUNTS, "slots": slots}], config(**changes))
    assert found.placement.physical_to_logical.tolist() == wanted
    assert found.placement.ranks == ranks


def test_what_is_shown() -> None:
    """Mean and worst layer, each rank's share, and counters that follow the window's."""
    counts = np.array(COUNTS)
    metrics = ExpertMetrics()
    before = value("expert_rearrangements_total") or 0.0, value("experts_moved_total") or 0.0
    for number in (1, 3):
        metrics.publish(ExpertLoad(counts, in_order(counts, 2), 60.0, number, 10 * number))
    assert value("expert_balancedness", layers="mean") == pytest.approx(0.75)
    assert value("expert_balancedness", layers="worst") == pytest.approx(0.5)
    assert value("hottest_expert_share", layers="mean") == pytest.approx(0.5)
    assert value("hottest_expert_share", layers="worst") == pytest.approx(0.75)
    assert value("expert_rank_load", rank="0") == pytest.approx(10 / 12)
    assert value("expert_rank_load", rank="1") == pytest.approx(2 / 12)
    assert value("expert_rearrangements_total") == before[0] + 3
    assert value("experts_moved_total") == before[1] + 30


def test_no_series_has_an_expert_in_it() -> None:
    """However many experts there are, the series are two for layers twice, one a rank, and two counters."""
    counts = np.ones((36, 128), dtype=np.int64)
    ExpertMetrics().publish(ExpertLoad(counts, in_order(counts, 2)))
    names = ("venturi_expert", "venturi_hottest_expert")
    series = [
        sample
        for family in REGISTRY.collect()
        if family.name.startswith(names)
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    assert len(series) == 2 * 2 + 2 + 2
