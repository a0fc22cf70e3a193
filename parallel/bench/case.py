"""Which engines does a benchmark start, and with what?"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from parallel.plan import ParallelPlan

ROUTINGS = ("model", "uniform", "zipf", "sticky")
"""Where tokens go: as the router says; anywhere alike; to some experts more (Zipf, exponent 1); anywhere
alike, but neighbours in a step share much (see `vllm_plugin/simulated_routing.py`)."""

EPLB_POLICIES = ("default", "steady")

ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1"}

CUDA_ENVIRONMENT = {"VLLM_USE_FLASHINFER_SAMPLER": "0", "VLLM_USE_DEEP_GEMM": "0"}
"""What would be compiled on first use, for minutes, is left out."""

CUDA_ARGUMENTS: dict[str, Any] = {
    "moe_backend": "triton",
    "attention_backend": "FLASH_ATTN_MLA",
    "gpu_memory_utilization": 0.92,
    "max_num_batched_tokens": 16_384,
}


@dataclass(frozen=True)
class Case:
    """One engine configuration; ValueError for one that cannot be."""

    layout: str
    """As 2xtp1 (two replicas), tp2, tp2+ep, dp2+ep, tp2+dp2+ep."""
    draft_tokens: int = 0
    acceptance: float | None = None
    """Tokens a verify step that synthetic acceptance is set to; None verifies for real."""
    routing: str = "model"
    redundant_experts: int = 0
    """Copies beyond one slot an expert; above 0, experts are balanced while it runs."""
    eplb_policy: str = "default"

    def __post_init__(self) -> None:
        plan = self.plan  # raises for a layout that is none
        if self.routing not in ROUTINGS:
            raise ValueError(f"routing={self.routing!r} must be one of {', '.join(ROUTINGS)}")
        if self.draft_tokens < 0:
            raise ValueError(f"draft_tokens={self.draft_tokens} must not be negative")
        if self.acceptance is not None and not 1 <= self.acceptance <= self.draft_tokens + 1:
            raise ValueError(
                f"acceptance={self.acceptance:g} must be from 1 to draft_tokens+1={self.draft_tokens + 1}"
            )
        if self.redundant_experts and not plan.ep:
            raise ValueError(
                f"redundant_experts={self.redundant_experts} needs +ep in layout={self.layout!r}"
            )

    @property
    def plan(self) -> ParallelPlan:
        """How one replica is laid out."""
        return self._read()[1]

    @property
    def replicas(self) -> int:
        """Engines that run beside each other, each with its share of the requests."""
        return self._read()[0]

    def _read(self) -> tuple[int, ParallelPlan]:
        form = re.fullmatch(r"(?:(\d+)x)?(?:tp(\d+))?(?:\+?dp(\d+))?(\+ep)?", self.layout)
        if not form or not (form[2] or form[3]):
            raise ValueError(f"layout={self.layout!r} must be as 2xtp1, tp2, tp2+ep, dp2+ep or tp2+dp2+ep")
        plan = ParallelPlan(tp=int(form[2] or 1), dp=int(form[3] or 1), ep=bool(form[4]))
        return int(form[1] or 1), plan

    @property
    def key(self) -> str:
        """This case in words, as results name it."""
        words = [self.layout]
        if self.draft_tokens:
            words.append(f"k={self.draft_tokens}")
            words.append(f"acceptance={self.acceptance:g}" if self.acceptance else "real acceptance")
        if self.routing != "model":
            words.append(f"{self.routing} routing")
        if self.redundant_experts:
            words.append(f"{self.redundant_experts} redundant, {self.eplb_policy}")
        return ", ".join(words)

    def values(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def environment(self, *, cuda: bool) -> dict[str, str]:
        """Of the engine's processes, on top of what is there."""
        found = ENVIRONMENT | (CUDA_ENVIRONMENT if cuda else {})
        if cuda and self.plan.world_size > 1:
            # Without this, vLLM 0.29.0 cannot record CUDA graphs of two ranks.
            found |= {"VLLM_DISABLE_SHARED_EXPERTS_STREAM": "1"}
        if self.routing != "model":
            name = "uniform_random" if self.routing == "uniform" else f"venturi_{self.routing}"
            found |= {"VLLM_MOE_ROUTING_SIMULATION_STRATEGY": name}
        return found

    def arguments(self, *, model: str, draft: str | None, dummy: bool, cuda: bool) -> dict[str, Any]:
        """What vLLM's engine starts with: the model's, the layout's, and what a benchmark wants."""
        found = (CUDA_ARGUMENTS if cuda else {}) | {
            "model": model,
            "tokenizer_mode": "mistral",
            "config_format": "mistral",
            "load_format": "dummy" if dummy else "mistral",
            "enable_prefix_caching": False,
            "disable_log_stats": True,
        }
        if self.draft_tokens:
            speculation: dict[str, Any] = {
                "method": "eagle",
                "model": draft,
                "num_speculative_tokens": self.draft_tokens,
            }
            if self.acceptance is not None:
                speculation |= {
                    "rejection_sample_method": "synthetic",
                    "synthetic_acceptance_length": self.acceptance,
                }
            found["speculative_config"] = speculation
        if self.redundant_experts:
            found |= {
                "enable_eplb": True,
                "eplb_config": {
                    "num_redundant_experts": self.redundant_experts,
                    "policy": self.eplb_policy,
                },
            }
        return found | self.plan.engine_arguments()


def share(requests: int, part: int, parts: int) -> int:
    """How many of the requests the replica number `part` gets."""
    return requests // parts + (part < requests % parts)


def with_extra(arguments: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with an operator's own; mappings are merged."""
    merged = dict(arguments)
    for name, value in extra.items():
        mine = merged.get(name)
        merged[name] = mine | value if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged
