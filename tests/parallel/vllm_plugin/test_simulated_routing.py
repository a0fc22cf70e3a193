"""Simulated routing has the distribution that it says, and reaches vLLM when it is named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from parallel.vllm_plugin.simulated_routing import BLOCK_TOKENS, PREFIX, Sticky, Zipf

TOKENS, EXPERTS, TOP_K = 20_000, 128, 4
LOGITS = torch.zeros(TOKENS, EXPERTS)


@pytest.mark.parametrize("strategy", [Zipf(), Sticky()], ids=["zipf", "sticky"])
def test_choices(strategy: Zipf | Sticky) -> None:
    """Different experts for each token, of the type that is asked for; weights that add up to one."""
    weights, experts = strategy.route_tokens(LOGITS, LOGITS[:100], TOP_K, torch.int32)
    assert experts.dtype == torch.int32
    assert experts.shape == weights.shape == (100, TOP_K)
    assert all(len(set(row)) == TOP_K for row in experts.tolist())
    assert torch.allclose(weights.sum(dim=1), torch.ones(100))


def test_zipf() -> None:
    """A single choice falls on expert number i of the order in proportion to 1/i, call after call."""
    torch.manual_seed(0)
    strategy = Zipf()
    counts = sum(
        torch.bincount(strategy.route_tokens(LOGITS, LOGITS, 1)[1].flatten(), minlength=EXPERTS)
        for _ in range(5)
    )
    shares = (counts / (5 * TOKENS)).sort(descending=True).values
    expected = 1 / torch.arange(1, EXPERTS + 1)
    assert torch.allclose(shares[:8], (expected / expected.sum())[:8], rtol=0.1)


def test_sticky() -> None:
    """Tokens of a block share far more experts than those of different blocks, and all experts are alike."""
    torch.manual_seed(0)
    _, experts = Sticky().route_tokens(LOGITS, LOGITS, TOP_K)
    rows = [set(row) for row in experts.tolist()]
    within = [len(rows[i] & rows[i + 1]) for i in range(0, TOKENS, BLOCK_TOKENS)]
    across = [len(rows[i] & rows[i - 1]) for i in range(BLOCK_TOKENS, TOKENS, BLOCK_TOKENS)]
    assert sum(within) / len(within) > 5 * sum(across) / len(across)
    counts = torch.bincount(experts.flatten(), minlength=EXPERTS)
    assert counts.max() < 1.5 * counts.min()


def test_registered(probe: Callable[[bool], Any]) -> None:
    """Only where the environment names one of ours."""
    before, named = probe(True)["routings"]
    assert not any(name.startswith(PREFIX) for name in before)
    assert {"venturi_zipf", "venturi_sticky"} <= set(named)
