"""How many bytes do a model, and a token of its context, take on each rank of a plan?

Everything is counted, not fitted, except `ENGINE_OVERHEAD_BYTES`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from parallel.hardware import GIB
from parallel.model_shape import Division, ModelShape, Part, Weight
from parallel.plan import ParallelPlan

MIB = 2**20

ENGINE_OVERHEAD_BYTES = int(3.5 * GIB)
"""What vLLM keeps on a device besides weights and cache: activations of the largest step and CUDA graphs.

Not counted but measured: on one H200 it came to between 3.0 and 4.0 GiB, by the settings of the run.
"""


class WeightFormat(Enum):
    """How a checkpoint stores its weights."""

    FLOAT32 = "float32"
    BF16 = "bf16"
    FP8 = "fp8"
    NVFP4 = "nvfp4"


class CacheFormat(Enum):
    """How the engine stores keys and values; the value is bytes an element."""

    FLOAT32 = 4
    BF16 = 2
    FP8 = 1


@dataclass(frozen=True)
class Row:
    """One line of a report."""

    name: str
    num_bytes: int


@dataclass(frozen=True)
class MemoryReport:
    """Bytes by part; `str` prints a line for each and the total, in GiB or, for a small model, MiB."""

    rows: tuple[Row, ...]

    @property
    def total_bytes(self) -> int:
        """Sum over the rows."""
        return sum(row.num_bytes for row in self.rows)

    def __str__(self) -> str:
        unit, unit_bytes = ("GiB", GIB) if self.total_bytes >= GIB else ("MiB", MIB)
        lines = [*self.rows, Row("total", self.total_bytes)]
        width = max(len(line.name) for line in lines)
        return "\n".join(f"{line.name:<{width}} {line.num_bytes / unit_bytes:9.3f} {unit}" for line in lines)


def checkpoint_bytes(shape: ModelShape, weight_format: WeightFormat) -> MemoryReport:
    """Bytes of the weights as the checkpoint holds them: elements of each part times the bytes of one.

    Exact for float32 and bf16. The quantised formats also store two scales a tensor, under 0.001 % of
    the whole, that are not counted.
    """
    return MemoryReport(_rows((w.part, weight_bytes(w, weight_format)) for w in shape.weights()))


def rank_weight_bytes(shape: ModelShape, weight_format: WeightFormat, plan: ParallelPlan) -> MemoryReport:
    """Bytes of weights on each rank of the plan, as vLLM reports them once it has loaded the model.

    Every rank has the same. The last two rows are tables that vLLM makes while loading.
    """
    plan.check_model(
        num_experts=shape.experts, num_attention_heads=shape.heads, expert_width=shape.expert_width
    )
    stored = ((w.part, weight_bytes(w, weight_format) // num_shares(w, plan)) for w in shape.weights())
    return MemoryReport((*_rows(stored), *_tables(shape, weight_format, plan)))


def kv_bytes_per_token(
    shape: ModelShape, plan: ParallelPlan, cache_format: CacheFormat = CacheFormat.BF16, *, mla: bool = True
) -> int:
    """Bytes of cache that one token of context costs on each rank that keeps it.

    With `mla` a layer stores the latent and the rotated key, kv_lora + rope elements, once for all
    heads: every rank of a tp group has its own copy. Without it (VLLM_MLA_DISABLE=1) a layer stores a
    key and a value for every head, both as wide as a query head (vLLM pads the values), divided over
    the tp ranks. Data-parallel groups keep different tokens.
    """
    if mla:
        elements_per_layer = shape.kv_lora + shape.rope_dim
    else:
        elements_per_layer = 2 * (shape.heads // plan.tp) * shape.qk_dim
    return shape.layers * elements_per_layer * cache_format.value


def weight_bytes(weight: Weight, weight_format: WeightFormat) -> int:
    """Bytes of all tensors of one kind.

    FP8 applies to every matrix of attention and feed-forward. NVFP4 applies to the experts alone,
    routed and shared: half a byte an element, and one byte of scale for each block of 16.
    """
    if weight_format is WeightFormat.FLOAT32:
        return 4 * weight.total_elements
    if weight_format is WeightFormat.FP8 and weight.quantizable:
        return weight.total_elements
    if weight_format is WeightFormat.NVFP4 and weight.part in (Part.EXPERTS, Part.SHARED_EXPERTS):
        return weight.total_elements // 2 + weight.total_elements // 16
    return 2 * weight.total_elements


def num_shares(weight: Weight, plan: ParallelPlan) -> int:
    """Ranks that hold one copy of this weight between them.

    Shared experts are divided like any dense matrix, but not where vLLM splits the *tokens* over the tp
    group before the experts: then every rank needs all of them.
    """
    if weight.part is Part.SHARED_EXPERTS and plan.ep and plan.tp > 1 and plan.dp > 1:
        return 1
    return {Division.ALL_RANKS: plan.world_size, Division.TP_RANKS: plan.tp, Division.COPIED: 1}[
        weight.division
    ]


def _tables(shape: ModelShape, weight_format: WeightFormat, plan: ParallelPlan) -> Iterator[Row]:
    """What vLLM derives from the weights while loading, in the model's number format.

    One rotary table serves all layers: a sine and a cosine for half of the rotated width, for each
    position. With latent attention, decoding absorbs the key and value up-projections into the query
    and the output, from copies of their own that are never quantised.
    """
    element_bytes = 4 if weight_format is WeightFormat.FLOAT32 else 2
    yield Row("rotary table", shape.positions * shape.rope_dim * element_bytes)
    yield Row("absorbed projections", shape.layers * shape.kv_up_elements * element_bytes // plan.tp)


def _rows(parts: Iterable[tuple[Part, int]]) -> tuple[Row, ...]:
    """One row a part that is there at all, in the order of `Part`."""
    totals = dict.fromkeys(Part, 0)
    for part, num_bytes in parts:
        totals[part] += num_bytes
    return tuple(Row(part.value, num_bytes) for part, num_bytes in totals.items() if num_bytes)
