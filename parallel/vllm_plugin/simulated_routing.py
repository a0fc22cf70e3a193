"""How can a benchmark route tokens unevenly, or alike, whatever the router says?

Not a fix: vLLM's `VLLM_MOE_ROUTING_SIMULATION_STRATEGY` knows tokens that go anywhere alike, and a normal
distribution that chooses an expert twice. Two more are registered here, only when the variable names one of
them, so that no other engine ever imports this:

- `venturi_zipf`: the expert at place i of an order, the same in all layers, is chosen in proportion to 1/i;
- `venturi_sticky`: experts are alike, but each block of four tokens of a step (one request's, when three
  draft tokens are verified) shares half of the variance of its scores.
"""

import math
from typing import Any

import torch
from vllm.model_executor.layers.fused_moe.router.routing_simulator_router import (
    RoutingSimulator,
    RoutingStrategy,
)

PREFIX = "venturi_"
BLOCK_TOKENS = 4
SHARED = 0.5
"""Of the variance of a token's scores: how much is its block's."""


class Zipf(RoutingStrategy):
    """Top-k without replacement in proportion to given popularities, by Gumbel noise."""

    def __init__(self, exponent: float = 1.0) -> None:
        self.exponent = exponent
        self._popularity: dict[Any, Any] = {}

    def route_tokens(
        self, hidden_states: Any, router_logits: Any, top_k: int, indices_type: Any = None
    ) -> tuple[Any, Any]:
        """Weights [tokens, top_k], all alike, and experts [tokens, top_k]."""
        scores = self._log_popularity(router_logits) - (-_uniform(router_logits).log()).log()
        return _choice(scores, top_k, indices_type)

    def _log_popularity(self, logits: Any) -> Any:
        """[experts]; made on the first call, which comes before anything is recorded into a graph."""
        key = (logits.device, logits.size(-1))
        if key not in self._popularity:
            order = torch.randperm(logits.size(-1), generator=torch.Generator().manual_seed(0))
            self._popularity[key] = (-self.exponent * (order + 1).float().log()).to(logits.device)
        return self._popularity[key]


class Sticky(RoutingStrategy):
    """Top-k of normal scores, of which a part is common to a block of neighbours."""

    def route_tokens(
        self, hidden_states: Any, router_logits: Any, top_k: int, indices_type: Any = None
    ) -> tuple[Any, Any]:
        """Weights [tokens, top_k], all alike, and experts [tokens, top_k]."""
        tokens, experts = router_logits.shape
        blocks = torch.randn(-(-tokens // BLOCK_TOKENS), experts, device=router_logits.device)
        own = torch.randn(tokens, experts, device=router_logits.device)
        common = blocks[:, None].expand(-1, BLOCK_TOKENS, -1).reshape(-1, experts)[:tokens]
        return _choice(math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * own, top_k, indices_type)


def _uniform(like: Any) -> Any:
    return torch.rand(like.shape, device=like.device).clamp(1e-9, 1 - 1e-7)


def _choice(scores: Any, top_k: int, indices_type: Any) -> tuple[Any, Any]:
    experts = scores.topk(top_k, dim=-1).indices.to(indices_type or torch.int32)
    weights = torch.full(experts.shape, 1 / top_k, dtype=torch.float32, device=scores.device)
    return weights, experts


def install() -> None:
    """Give vLLM both."""
    RoutingSimulator.register_strategy(f"{PREFIX}zipf", Zipf())
    RoutingSimulator.register_strategy(f"{PREFIX}sticky", Sticky())
