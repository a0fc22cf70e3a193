"""What is to be served, on what, and for which load?"""

from dataclasses import dataclass
from typing import Literal, get_args

from parallel.hardware import Gpu
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape
from parallel.plan import ParallelPlan
from parallel.speed import Load, Speculation

Objective = Literal["throughput", "latency", "cost"]
"""Tokens a second of all requests, or of each, or GPU-seconds a token (prices are not known)."""


@dataclass(frozen=True)
class Cluster:
    """Equal nodes with equal GPUs; ValueError for fewer than one of either."""

    gpu: Gpu
    gpus_per_node: int
    nodes: int = 1

    def __post_init__(self) -> None:
        for field in ("gpus_per_node", "nodes"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}={getattr(self, field)} must be at least 1")

    def most_replicas(self, plan: ParallelPlan) -> int:
        """Replicas of this plan that there are GPUs for; GPUs that no whole replica fills stay idle."""
        return self.nodes // plan.nodes * (self.gpus_per_node // plan.ranks_per_node)

    def __str__(self) -> str:
        one = f"{self.gpus_per_node}x{self.gpu.name}"
        return one if self.nodes == 1 else f"{self.nodes} nodes of {one}"


@dataclass(frozen=True)
class Question:
    """What is to be served on what; ValueError if the parts contradict each other."""

    cluster: Cluster
    weight_format: WeightFormat
    context_tokens: int
    """The longest request, prompt and answer, that must fit: vLLM's max_model_len."""
    objective: Objective
    load: Load
    """What the speed is predicted for; `concurrency` counts requests over all replicas."""
    speculation: Speculation | None = None
    shape: ModelShape = MISTRAL_SMALL_4
    correlation: float = 0.0
    """How alike the tokens of a batch are routed, from 0 to 1: measured, or 0 for uniform routing."""
    memory_utilization: float = 0.92
    """Share of each GPU's memory that vLLM may use, its gpu_memory_utilization."""

    def __post_init__(self) -> None:
        request_tokens = self.load.prompt_tokens + self.load.answer_tokens
        if self.objective not in get_args(Objective):
            raise ValueError(f"objective={self.objective!r} must be one of {', '.join(get_args(Objective))}")
        if self.context_tokens > self.shape.positions:
            raise ValueError(f"context={self.context_tokens} is more than the model's {self.shape.positions}")
        if self.context_tokens < request_tokens:
            raise ValueError(
                f"context={self.context_tokens} is less than prompt+answer={self.load.prompt_tokens}"
                f"+{self.load.answer_tokens}={request_tokens} tokens of the load"
            )
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"correlation={self.correlation:g} must be from 0 to 1")
        if not 0 < self.memory_utilization <= 1:
            raise ValueError(f"memory_utilization={self.memory_utilization:g} must be above 0 and at most 1")
