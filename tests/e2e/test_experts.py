"""Does the whole system say which experts its tokens choose?"""

import httpx
import pytest

from tests.e2e.metrics import total, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

WINDOW_S = 40
"""Long enough for two readings."""
NUM_LAYERS, NUM_EXPERTS = 6, 128


def test_every_pool_shows_the_load_of_its_experts(http: httpx.Client) -> None:
    """Both engines count what they are asked; an engine of one rank has all the work there."""

    def counted() -> dict[str, list[list[int]]]:
        for effort in ("none", "high"):
            asked = {"model": "mistral-small-4", "max_tokens": 8, "reasoning_effort": effort}
            messages = [{"role": "user", "content": "Name three rivers of France."}]
            http.post("/v1/chat/completions", json=asked | {"messages": messages}).raise_for_status()
        loads = http.get("/venturi/experts").json()["data"]
        assert all(load["ranks"] == 1 for load in loads)
        return {load["efforts"][0]: load["counts"] for load in loads if any(map(any, load["counts"]))}

    wait_until(lambda: len(counted()) == 2, WINDOW_S)
    for counts in counted().values():
        assert (len(counts), len(counts[0])) == (NUM_LAYERS, NUM_EXPERTS)
        assert len(set(map(sum, counts))) == 1  # every token chooses in every layer
    for pool in ("throughput", "latency"):
        assert total(http, "venturi_expert_balancedness", pool=pool, layers="worst") == 1
        assert total(http, "venturi_expert_rank_load", pool=pool, rank="0") == 1
        assert 1 / NUM_EXPERTS < total(http, "venturi_hottest_expert_share", pool=pool, layers="worst") < 1
