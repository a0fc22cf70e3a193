"""How long does one step of an engine take: prefill, decode, or the verifying of drafted tokens?

A roofline, part by part: a part takes the longer of its bytes over the memory's bandwidth and of its
operations over the peak rate, both times the share of the peak that kernels reach. Parts add up, and so
do a constant a layer (launches, host) and the collectives. Times are those of the busiest
rank. What is not counted: sampling, contention of host processes, the lockstep of dp groups.
"""

from dataclasses import dataclass, replace

from parallel.engine_arguments import CONTEXT_SPLITS
from parallel.experts import busiest_rank, distinct_experts
from parallel.hardware import Gpu, Link
from parallel.links import all_gather_s, all_reduce_s
from parallel.memory import (
    CacheFormat,
    WeightFormat,
    kv_bytes_per_token,
    num_shares,
    rank_weight_bytes,
    weight_bytes,
)
from parallel.model_shape import ModelShape, Part
from parallel.plan import ParallelPlan

ACTIVATION_BYTES = 2
"""Bytes an element that the ranks exchange: activations are BF16 in every format but float32."""


@dataclass(frozen=True)
class Efficiency:
    """How far an engine stays below the data sheet; fitted on `measured.py`, so on H200 with vLLM 0.29.

    The same figures are used for every other device: that is an assumption.
    """

    bandwidth: float = 0.84
    """Share of the memory's peak bandwidth that kernels reach."""
    compute: float = 0.36
    """Share of the tensor cores' peak rate."""
    prompt_attention: float = 0.68
    """The same of attention over a prompt: fitted on the first token of one of 131,072 tokens."""
    split_bytes_per_s: float = 24.6e9
    """Of one of the parts that a context is read in: alike at 8 of 65,536 tokens and 32 of 131,072."""
    link: float = 0.7
    """Share of a link's peak bandwidth; an assumption, no measured step depends much on it."""
    divided_bandwidth: float = 0.9
    """Further share of the bandwidth for experts that are divided over ranks: smaller, or fewer on each."""
    unpacked_bandwidth: float = 0.62
    """Further share of the bandwidth for experts in a format that the GPU cannot multiply, so that Marlin's
    kernels unpack them; fitted on their times with NVFP4, for the least worst error at 4 to 128 requests."""
    divided_compute: float = 0.44
    """Further share of the peak rate for experts that are divided over ranks: it is prefill that shows it."""
    layer_s: float = 75e-6
    """Seconds a layer takes whatever it computes."""
    dispatch_s: float = 35e-6
    """Seconds that a layer takes longer, whatever it computes, where dp groups exchange tokens."""


FITTED = Efficiency()

MODEL_ERROR = 0.11
"""What a prediction is taken to be off by: the worst where it was fitted, over two GPUs (`measured.py`)."""


@dataclass(frozen=True)
class Engine:
    """One engine: model, formats, device and layout; what a step's time depends on besides its batch."""

    gpu: Gpu
    shape: ModelShape
    weight_format: WeightFormat
    plan: ParallelPlan
    cache_format: CacheFormat = CacheFormat.BF16
    correlation: float = 0.0
    """How alike the tokens of a batch are routed: see `distinct_experts`."""
    context_splits: int = CONTEXT_SPLITS
    """Parts that a decoded sequence's context is read in, each by a processor of its own."""
    efficiency: Efficiency = FITTED

    @property
    def link(self) -> Link:
        """The slowest link inside one group of ranks."""
        return self.gpu.link if self.plan.nodes == 1 else self.gpu.network


@dataclass(frozen=True)
class Batch:
    """What one step works on, over all dp groups of an engine."""

    num_tokens: float
    """Tokens that pass through the layers."""
    num_sequences: float
    num_positions: float
    """Positions that a token is sampled at."""
    context_tokens: float
    """Mean tokens of context that each of the tokens attends to."""
    prefill: bool = False


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step by part; `total_s` is their sum."""

    launches_s: float
    attention_s: float
    cache_s: float
    experts_s: float
    shared_s: float
    head_s: float
    links_s: float

    @property
    def total_s(self) -> float:
        """Seconds of the whole step."""
        return (
            self.launches_s
            + self.attention_s
            + self.cache_s
            + self.experts_s
            + self.shared_s
            + self.head_s
            + self.links_s
        )


def decode(engine: Engine, num_sequences: float, context_tokens: float) -> StepTime:
    """One step in which every sequence gets one token; `context_tokens` is the mean length so far."""
    return step_time(engine, Batch(num_sequences, num_sequences, num_sequences, context_tokens))


def verify(engine: Engine, num_sequences: float, context_tokens: float, draft_tokens: int) -> StepTime:
    """The target's part of a speculative step: it checks `draft_tokens` a sequence and adds one.

    Each of these tokens chooses experts of its own: on a sparse model verifying is not free.
    """
    num_tokens = num_sequences * (draft_tokens + 1)
    return step_time(engine, Batch(num_tokens, num_sequences, num_tokens, context_tokens))


def draft_s(
    engine: Engine, draft: ModelShape, num_sequences: float, context_tokens: float, draft_tokens: int
) -> float:
    """Seconds to propose `draft_tokens` a sequence: as many passes through the head, one after another."""
    one_pass = decode(replace(engine, shape=draft), num_sequences, context_tokens)
    return draft_tokens * one_pass.total_s


def speculative_s(
    engine: Engine,
    draft: ModelShape,
    num_sequences: float,
    context_tokens: float,
    draft_tokens: int,
    num_passes: int,
) -> float:
    """Seconds of a step that verifies `draft_tokens` a sequence, `num_passes` through the head included."""
    drafting_s = draft_s(engine, draft, num_sequences, context_tokens, num_passes)
    return verify(engine, num_sequences, context_tokens, draft_tokens).total_s + drafting_s


def prefill_s(engine: Engine, prompt_tokens: float, num_sequences: float, chunk_tokens: int) -> float:
    """Seconds to read `num_sequences` prompts of `prompt_tokens`, in steps of up to `chunk_tokens` tokens."""
    num_tokens = prompt_tokens * num_sequences
    num_steps = max(1.0, num_tokens / chunk_tokens)
    sequences = num_sequences / num_steps
    batch = Batch(num_tokens / num_steps, sequences, sequences, prompt_tokens / 2, prefill=True)
    return num_steps * step_time(engine, batch).total_s


def step_time(engine: Engine, batch: Batch) -> StepTime:
    """One step over whatever the batch is; the others here are batches of one kind."""
    shape, plan = engine.shape, engine.plan
    group = _one_group(batch, plan)
    rows = rank_weight_bytes(shape, engine.weight_format, plan).rows
    stored = {row.name: row.num_bytes for row in rows}
    width = _bits(engine.weight_format, Part.ATTENTION)
    attention_bytes = stored[Part.ATTENTION.value] + stored["absorbed projections"]
    # Shared and dense feed-forward, router, and a draft head's projection of its two inputs.
    others = (Part.SHARED_EXPERTS, Part.DENSE, Part.ROUTER, Part.EAGLE)
    shared_width = _bits(engine.weight_format, Part.SHARED_EXPERTS)
    return StepTime(
        launches_s=shape.layers * engine.efficiency.layer_s,
        attention_s=_roofline(
            engine, attention_bytes, 2 * _elements(engine, Part.ATTENTION) * group.num_tokens, width
        ),
        cache_s=_cache(engine, group),
        experts_s=_experts(engine, batch),
        shared_s=_roofline(
            engine,
            sum(stored.get(part.value, 0) for part in others),
            2 * sum(_elements(engine, part) for part in others) * group.num_tokens,
            shared_width,
        ),
        head_s=_head(engine, group),
        links_s=_links(engine, batch, group),
    )


def _one_group(batch: Batch, plan: ParallelPlan) -> Batch:
    """What falls on one dp group; an idle one still runs a token, since the experts are shared."""
    return replace(
        batch,
        num_tokens=max(1.0, batch.num_tokens / plan.dp),
        num_sequences=max(1.0, batch.num_sequences / plan.dp),
        num_positions=max(1.0, batch.num_positions / plan.dp),
    )


def _roofline(engine: Engine, num_bytes: float, num_flops: float, bits: int) -> float:
    read_s = num_bytes / (engine.gpu.memory_bandwidth_bytes_per_s * engine.efficiency.bandwidth)
    return max(read_s, num_flops / (engine.gpu.flops_per_s(bits) * engine.efficiency.compute))


def _experts(engine: Engine, batch: Batch) -> float:
    """The distinct experts of the busiest rank, or a slice of all of them on every rank."""
    shape, plan = engine.shape, engine.plan
    routed = [weight for weight in shape.weights() if weight.part is Part.EXPERTS]
    if not routed:
        return 0.0
    elements = sum(weight.total_elements for weight in routed) / shape.experts
    expert_bytes = sum(weight_bytes(weight, engine.weight_format) for weight in routed) / shape.experts
    used = distinct_experts(shape.experts, shape.experts_per_token, batch.num_tokens, engine.correlation)
    choices = batch.num_tokens * shape.experts_per_token
    if plan.ep:
        used = busiest_rank(used, plan.ep_size, shape.experts / plan.ep_size)
        choices = busiest_rank(choices, plan.ep_size)
    else:
        used, choices = used / plan.world_size, choices / plan.world_size
    bits = _bits(engine.weight_format, Part.EXPERTS)
    num_bytes, num_flops = used * expert_bytes, 2 * choices * elements
    if not engine.gpu.multiplies(bits):
        num_bytes /= engine.efficiency.unpacked_bandwidth
    if plan.world_size > 1:
        num_bytes /= engine.efficiency.divided_bandwidth
        num_flops /= engine.efficiency.divided_compute
    return _roofline(engine, num_bytes, num_flops, bits)


def _cache(engine: Engine, group: Batch) -> float:
    """Attention over the context: latents for all heads when decoding, keys and values when not.

    Operations a token, layer and token of context: for each head 2 (2 kv_lora + rope) over the latents
    and 2 (qk_dim + v_dim) over keys and values made from them. A few decoded sequences keep few processors
    busy: each is read in so many parts, at the rate of one processor.
    """
    shape, plan = engine.shape, engine.plan
    width = shape.qk_dim + shape.v_dim if group.prefill else 2 * shape.kv_lora + shape.rope_dim
    flops = 2 * shape.layers * shape.heads / plan.tp * width * group.num_tokens * group.context_tokens
    each_bytes = kv_bytes_per_token(shape, plan, engine.cache_format) * group.context_tokens
    bits = 32 if engine.weight_format is WeightFormat.FLOAT32 else 16
    if group.prefill:
        flops *= engine.efficiency.compute / engine.efficiency.prompt_attention
        return _roofline(engine, each_bytes * group.num_sequences, flops, bits)
    alone_s = each_bytes / (engine.context_splits * engine.efficiency.split_bytes_per_s)
    return max(_roofline(engine, each_bytes * group.num_sequences, flops, bits), alone_s)


def _head(engine: Engine, group: Batch) -> float:
    """The output head, a share on each tp rank."""
    elements = engine.shape.vocab * engine.shape.hidden / engine.plan.tp
    bits = _bits(engine.weight_format, Part.EMBEDDING)
    return _roofline(engine, elements * bits / 8, 2 * elements * group.num_positions, bits)


def _links(engine: Engine, batch: Batch, group: Batch) -> float:
    """Collectives of a step: after attention, around the feed-forward, and for the logits.

    With dp the tokens of all groups are gathered for the experts, and the sums scattered again; with
    tp alone both halves of a layer end in an all-reduce.
    """
    shape, plan, reach = engine.shape, engine.plan, engine.efficiency.link
    token_bytes = shape.hidden * ACTIVATION_BYTES
    reduce_s = all_reduce_s(group.num_tokens * token_bytes, plan.tp, engine.link, reach)
    if plan.dp == 1:
        layer_s = 2 * reduce_s
    else:
        gathered_bytes = max(batch.num_tokens, plan.dp) * token_bytes
        layer_s = reduce_s + 2 * all_gather_s(gathered_bytes, plan.world_size, engine.link, reach)
        layer_s += engine.efficiency.dispatch_s
    logits_bytes = group.num_positions * shape.vocab * ACTIVATION_BYTES
    return shape.layers * layer_s + all_gather_s(logits_bytes, plan.tp, engine.link, reach)


def _elements(engine: Engine, part: Part) -> float:
    """Elements of a part on one rank."""
    return sum(
        w.total_elements / num_shares(w, engine.plan) for w in engine.shape.weights() if w.part is part
    )


def _bits(weight_format: WeightFormat, part: Part) -> int:
    """Bits an element that the tensor cores get to see of this part."""
    if weight_format is WeightFormat.FLOAT32:
        return 32
    if weight_format is WeightFormat.FP8 and part is not Part.EMBEDDING:
        return 8
    if weight_format is WeightFormat.NVFP4 and part in (Part.EXPERTS, Part.SHARED_EXPERTS):
        return 4
    return 16
