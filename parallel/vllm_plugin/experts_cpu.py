"""Why do the CPU's experts translate expert numbers, and report them?

Reason: under expert parallelism a rank holds some of the experts, but the router names experts by their
number in the whole model. vLLM's CPU experts get the map from one to the other and ignore it. They also
choose experts inside their own kernel, and say nothing of the choice to a caller that asked for it
(`enable_return_routed_experts`).
Upstream symptom: with `enable_expert_parallel` and two ranks, `cpu_fused_moe` reads past the local weights:
the worker dies of a segmentation fault, or answers with other experts' outputs.
No longer needed when: `CPUUnquantizedExperts.apply` uses its argument `expert_map`.

Shape legend: T tokens, K active experts a token, E experts of the model.
"""

import functools
from typing import Any

import torch
from vllm.model_executor.custom_op import CustomOp, op_registry_oot
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts
from vllm.model_executor.layers.fused_moe.unquantized_fused_moe_method import UnquantizedFusedMoEMethod

REPLACED = "UnquantizedFusedMoEMethod"


def to_local(
    weights: torch.Tensor, experts: torch.Tensor, expert_map: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Routing [T, K] by model-wide expert numbers -> routing [T, K] by numbers on this rank.

    `expert_map` [E] holds each expert's number on this rank, or -1. A choice that another rank serves becomes
    expert 0 with weight 0: its output adds nothing here, and the ranks' outputs are summed afterwards.
    """
    local = expert_map[experts.long()]
    elsewhere = local < 0
    weights = weights.masked_fill(elsewhere, 0.0).to(torch.float32)
    return weights.contiguous(), local.masked_fill(elsewhere, 0).to(torch.int32).contiguous()


class LocalExperts(CPUUnquantizedExperts):
    """Mixed in front of a class of CPU experts: translates expert numbers and reports the router's choice."""

    _expert_map: torch.Tensor | None = None

    def apply(
        self,
        hidden_states: torch.Tensor,
        w1: torch.Tensor,
        w2: torch.Tensor,
        router_logits: torch.Tensor,
        activation: Any,
        global_num_experts: int,
        expert_map: torch.Tensor | None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Output [T, D] of this rank's experts; choices on other ranks add nothing to it."""
        self._expert_map = expert_map  # for `_select_experts`, which upstream's `apply` calls first
        return super().apply(
            hidden_states, w1, w2, router_logits, activation, global_num_experts, expert_map, *args, **kwargs
        )

    def _select_experts(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        weights, experts = super()._select_experts(*args, **kwargs)
        if self.routing_replay_capture_fn is not None:
            self.routing_replay_capture_fn(experts)
        return (
            (weights, experts) if self._expert_map is None else to_local(weights, experts, self._expert_map)
        )

    def supports_routing_replay_capture(self) -> bool:
        """Yes: the choice is made in Python, so that it can be reported."""
        return True


@functools.cache
def localised(experts: type[CPUUnquantizedExperts]) -> type[CPUUnquantizedExperts]:
    """The class of CPU experts vLLM chose for this machine, with `LocalExperts` in front."""
    return type(f"Local{experts.__name__}", (LocalExperts, experts), {})


class LocalMoEMethod(UnquantizedFusedMoEMethod):
    """vLLM's method for unquantized experts, with the experts' class replaced."""

    experts_cls: Any

    def __init__(self, moe: Any) -> None:
        super().__init__(moe)
        if self.experts_cls is not None:
            self.experts_cls = localised(self.experts_cls)


def install() -> None:
    """Make vLLM build `LocalMoEMethod` wherever it means to build its own."""
    if REPLACED not in op_registry_oot:
        CustomOp.register_oot(LocalMoEMethod, name=REPLACED)
