"""How often does each layer choose each expert?

    worker_cls: parallel.vllm_plugin.expert_counter.CountingWorker

vLLM's worker for this device, with a counter at the hook through which routed experts are returned. vLLM
counts by itself only where it balances experts on GPUs, and shows a line in the log; returning the routed
experts (`enable_return_routed_experts`) copies every choice of every token off the device in every step. Here
a layer adds its choices to its row of one tensor that stays where it is, which a CUDA graph can capture; it
is copied when somebody asks.

Every rank counts the choices that it sees: those of its own tokens, or those of all ranks' tokens where they
are gathered before they are routed. Ranks are added up, so totals may be a multiple of the tokens served;
shares are right in either case. Rows without a place in the KV cache, which pad a batch to a captured size or
keep an idle rank in step, do not count, except where ranks' tokens are gathered; on GPUs they choose -1.

Shape legend: T tokens, K active experts a token, L layers with experts, E experts of the model.
"""

from collections.abc import Callable
from typing import Any

import torch
from vllm.forward_context import get_forward_context, is_forward_context_available
from vllm.logger import init_logger
from vllm.model_executor.layers.fused_moe.layer import MoERunner
from vllm.platforms import current_platform

if current_platform.is_cpu():
    from vllm.v1.worker.cpu_worker import CPUWorker as Worker
else:
    from vllm.v1.worker.gpu_worker import Worker

INDEX_TYPES = (torch.int32, torch.int64)
Capture = Callable[[torch.Tensor], None]
logger = init_logger("vllm.parallel.expert_counter")


class ExpertCounter:
    """The choices of all layers of one model on one rank, since its start."""

    def __init__(self, model: torch.nn.Module, num_experts: int, device: torch.device) -> None:
        """Attach to every layer whose choice vLLM lets one see; the others keep a row of zeros."""
        self.layers = [module for module in model.modules() if isinstance(module, MoERunner)]
        self.counts = torch.zeros(len(self.layers), num_experts, dtype=torch.int64, device=device)
        self._each = torch.empty(0)
        attached = [attach(layer, self.adder(number)) for number, layer in enumerate(self.layers)]
        if unseen := [number for number, worked in enumerate(attached) if not worked]:
            logger.warning("the kernels of these layers do not tell which experts they chose: %s", unseen)

    def adder(self, layer: int) -> Capture:
        """The function that adds choices [T, K] to the row [E] of one layer.

        What each of a step's choices counts is worked out in the first layer, and is then the same for all:
        that leaves one operation a layer.
        """
        row = self.counts[layer]

        def add(chosen: torch.Tensor) -> None:
            if layer == 0 or len(self._each) != chosen.numel():
                self._each = worth(chosen)
            if chosen.dtype not in INDEX_TYPES:
                chosen = chosen.int()
            if not chosen.is_cpu:
                chosen = chosen.clamp(min=0)  # on GPUs rows that pad choose -1; they count 0
            row.index_add_(0, chosen.reshape(-1), self._each)

        return add


def worth(chosen: torch.Tensor) -> torch.Tensor:
    """What each of the choices [T, K] counts, [T * K]: 1 for a request's tokens, 0 for rows that only pad."""
    slots = slots_of(chosen)
    # On CPU, where looking costs less than arithmetic: what pads is at the end.
    if chosen.is_cpu and (slots is None or slots[-1].item() >= 0):
        return torch.ones(chosen.numel(), dtype=torch.int64)
    counts = chosen >= 0
    if slots is not None:
        counts &= slots.unsqueeze(1) >= 0
    return counts.to(torch.int64).reshape(-1)


def slots_of(chosen: torch.Tensor) -> torch.Tensor | None:
    """Places in the KV cache of the rows of choices [T, K], [T], -1 for none; None if they are not known."""
    if not is_forward_context_available():
        return None
    slots = get_forward_context().slot_mapping
    if not isinstance(slots, dict) or not slots:
        return None
    of_layer: torch.Tensor = next(iter(slots.values()))
    return of_layer if len(of_layer) == len(chosen) > 0 else None


def attach(layer: Any, capture: Capture) -> bool:
    """Let `capture` see the choices of one layer, beside whoever sees them already; whether that worked."""
    method = layer._quant_method
    source = layer.router
    if method.is_monolithic:
        source = getattr(getattr(method.moe_kernel, "impl", None), "fused_experts", None)
        if source is None or not source.supports_routing_replay_capture():
            return False
        present = source.routing_replay_capture_fn
    else:
        present = getattr(source, "capture_fn", None)
    source.set_capture_fn(capture if present is None else _both(present, capture))
    return True


def _both(first: Capture, second: Capture) -> Capture:
    def call(chosen: torch.Tensor) -> None:
        first(chosen)
        second(chosen)

    return call


class CountingWorker(Worker):
    """vLLM's worker, with a counter in it."""

    def initialize_from_config(self, kv_cache_config: Any) -> None:
        """Make the KV cache and attach the counter: after vLLM's own hooks, before graphs are captured."""
        super().initialize_from_config(kv_cache_config)
        num_experts = self.model_config.get_num_experts()
        self._expert_counter = ExpertCounter(self.get_model(), num_experts, self.device)

    def expert_reading(self) -> dict[str, Any]:
        """The counts [L][E] of this rank, and the expert in each slot [L][slots], or null, as it started."""
        return {"counts": self._expert_counter.counts.tolist(), "slots": self._slots()}

    def _slots(self) -> list[list[int]] | None:
        # Two generations of model runners keep it in two places.
        runner = self.model_runner
        state = getattr(runner, "eplb_state", None) or getattr(getattr(runner, "eplb", None), "state", None)
        if state is None or not state.model_states:
            return None
        slots: list[list[int]] = next(iter(state.model_states.values())).physical_to_logical_map.tolist()
        return slots
