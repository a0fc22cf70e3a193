"""What takes which share of each GPU's memory under a plan, and how much context is there then room for?"""

from parallel.hardware import GIB
from parallel.memory import (
    ENGINE_OVERHEAD_BYTES,
    CacheFormat,
    MemoryReport,
    Row,
    WeightFormat,
    kv_bytes_per_token,
    rank_weight_bytes,
)
from parallel.plan import ParallelPlan
from parallel.question import Question


class DoesNotFitError(ValueError):
    """A layout needs more memory than there is."""

    def __init__(self, message: str, missing_bytes: int) -> None:
        super().__init__(message)
        self.missing_bytes = missing_bytes


def fit(question: Question, plan: ParallelPlan) -> tuple[MemoryReport, int]:
    """Memory of each GPU under a plan, and tokens of context a replica has room for.

    ValueError if the model cannot be divided so; DoesNotFitError with the bytes needed and there.
    """
    gpu, shape = question.cluster.gpu, question.shape
    weights = rank_weight_bytes(shape, question.weight_format, plan)
    rows = [*weights.rows]
    token_bytes = kv_bytes_per_token(shape, plan, cache_format(question))
    if question.speculation:
        head = question.speculation.head_for(shape)
        rows.append(Row("draft head", rank_weight_bytes(head, question.weight_format, plan).total_bytes))
        token_bytes += kv_bytes_per_token(head, plan, cache_format(question))
    rows.append(Row("activations and graphs", ENGINE_OVERHEAD_BYTES))
    needed, usable = sum(row.num_bytes for row in rows), int(gpu.memory_bytes * question.memory_utilization)
    share = f"{question.memory_utilization:g} of {gpu.name}'s {_gib(gpu.memory_bytes)}"
    if needed >= usable:
        raise DoesNotFitError(
            f"a GPU needs {_gib(needed)} before any context ({_gib(weights.total_bytes)} of weights), "
            f"{_gib(usable)} are there ({share})",
            needed + question.context_tokens * token_bytes - usable,
        )
    group_tokens = (usable - needed) // token_bytes
    if group_tokens < question.context_tokens:
        cache_bytes = question.context_tokens * token_bytes
        raise DoesNotFitError(
            f"context={question.context_tokens} needs {_gib(cache_bytes)} of cache, "
            f"{_gib(usable - needed)} are left, for {group_tokens} tokens",
            needed + cache_bytes - usable,
        )
    rows.append(Row("left for context", usable - needed))
    return MemoryReport(tuple(rows)), plan.dp * group_tokens


def cache_format(question: Question) -> CacheFormat:
    """Numbers of the cache: those that the engine computes in."""
    return CacheFormat.FLOAT32 if question.weight_format is WeightFormat.FLOAT32 else CacheFormat.BF16


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB"
