"""What takes which share of each GPU's memory under a plan, and how much context is there then room for?"""

from dataclasses import dataclass

from parallel.hardware import GIB, Gpu
from parallel.memory import (
    ENGINE_OVERHEAD_BYTES,
    CacheFormat,
    MemoryReport,
    Row,
    WeightFormat,
    kv_bytes_per_token,
    rank_weight_bytes,
)
from parallel.model_shape import ModelShape
from parallel.plan import ParallelPlan
from parallel.question import Question


class DoesNotFitError(ValueError):
    """A layout needs more memory than there is."""

    def __init__(self, message: str, missing_bytes: int) -> None:
        super().__init__(message)
        self.missing_bytes = missing_bytes


@dataclass(frozen=True)
class Needs:
    """What one engine keeps on each rank of its plan."""

    plan: ParallelPlan
    weights: MemoryReport
    draft: MemoryReport | None
    """Weights of the draft head, if there is one."""
    kv_bytes_per_token: int
    """Of the cache, the draft head's own layers included."""
    output_copy_bytes: int = 0
    """Of the FP8 copy of the output layer that the head may choose from."""

    @property
    def rows(self) -> list[Row]:
        """Everything but the cache."""
        head = [Row("draft head", self.draft.total_bytes)] if self.draft else []
        copy = [Row("output layer in FP8", self.output_copy_bytes)] if self.output_copy_bytes else []
        return [*self.weights.rows, *head, *copy, Row("activations and graphs", ENGINE_OVERHEAD_BYTES)]


def needs(
    shape: ModelShape,
    weight_format: WeightFormat,
    plan: ParallelPlan,
    cache_format: CacheFormat,
    *,
    head: ModelShape | None = None,
    fp8_output: bool = False,
    mla: bool = True,
) -> Needs:
    """What an engine keeps, with a draft head of that shape; ValueError if the model cannot be divided so.

    `fp8_output`: whether the head chooses from an FP8 copy of the output layer. `mla` is that of
    `memory.kv_bytes_per_token`.
    """
    return Needs(
        plan,
        rank_weight_bytes(shape, weight_format, plan),
        rank_weight_bytes(head, weight_format, plan) if head else None,
        sum(kv_bytes_per_token(one, plan, cache_format, mla=mla) for one in (shape, head) if one),
        shape.vocab * shape.hidden // plan.tp if fp8_output else 0,
    )


def room(
    needed: Needs, gpu: Gpu, *, memory_utilization: float, context_tokens: int = 1
) -> tuple[MemoryReport, int]:
    """Memory of each GPU, and tokens of context that all groups of the plan keep together.

    DoesNotFitError, with the bytes needed and there, unless each group has room for `context_tokens`.
    """
    rows, usable = needed.rows, int(gpu.memory_bytes * memory_utilization)
    taken, cache_bytes = sum(row.num_bytes for row in rows), context_tokens * needed.kv_bytes_per_token
    share = f"{memory_utilization:g} of {gpu.name}'s {_gib(gpu.memory_bytes)}"
    if taken >= usable:
        raise DoesNotFitError(
            f"a GPU needs {_gib(taken)} before any context ({_gib(needed.weights.total_bytes)} of weights), "
            f"{_gib(usable)} are there ({share})",
            taken + cache_bytes - usable,
        )
    group_tokens = (usable - taken) // needed.kv_bytes_per_token
    if group_tokens < context_tokens:
        raise DoesNotFitError(
            f"context={context_tokens} needs {_gib(cache_bytes)} of cache, "
            f"{_gib(usable - taken)} are left, for {group_tokens} tokens",
            taken + cache_bytes - usable,
        )
    rows.append(Row("left for context", usable - taken))
    return MemoryReport(tuple(rows)), needed.plan.dp * group_tokens


def fit(question: Question, plan: ParallelPlan) -> tuple[MemoryReport, int]:
    """Memory of each GPU under a plan, and tokens of context a replica has room for.

    ValueError if the model cannot be divided so; DoesNotFitError as `room` raises it.
    """
    shape, speculation = question.shape, question.speculation
    head = speculation.head_for(shape) if speculation else None
    return room(
        needs(shape, question.weight_format, plan, cache_format(question), head=head),
        question.cluster.gpu,
        memory_utilization=question.memory_utilization,
        context_tokens=question.context_tokens,
    )


def cache_format(question: Question) -> CacheFormat:
    """Numbers of the cache: those that the engine computes in."""
    return CacheFormat.FLOAT32 if question.weight_format is WeightFormat.FLOAT32 else CacheFormat.BF16


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB"
