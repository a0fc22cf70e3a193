"""Which weight matrices does a checkpoint hold, how large is each, and how is it divided over ranks?

A shape is read from `params.json`, the configuration file of Mistral's native checkpoint format; names
of fields and parts follow the tensor names of that format. Sizes are counts of elements: what an
element weighs is a matter of its number format, and so of `memory`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from parallel.params import Params, read


class Part(Enum):
    """Weights that belong together; the value is how a report names them."""

    EXPERTS = "routed experts"
    SHARED_EXPERTS = "shared experts"
    DENSE = "dense feed-forward"
    ATTENTION = "attention"
    ROUTER = "router and norms"
    EMBEDDING = "embedding and head"
    VISION = "vision"
    EAGLE = "draft input projection"


class Division(Enum):
    """How vLLM divides a weight over the ranks of a plan."""

    ALL_RANKS = "a share on each of the tp*dp ranks"
    TP_RANKS = "a share on each of the tp ranks of a group, all of it in each group"
    COPIED = "all of it on every rank"


@dataclass(frozen=True)
class Weight:
    """`count` tensors of one kind, of `num_elements` elements each."""

    part: Part
    division: Division
    num_elements: int
    count: int = 1
    quantizable: bool = True
    """False for what quantised checkpoints keep in 16 bits: norms, router, embedding, head, vision."""

    @property
    def total_elements(self) -> int:
        """Elements of all tensors of this kind."""
        return self.num_elements * self.count


@dataclass(frozen=True)
class VisionShape:
    """The Pixtral tower and the adapter from it into the text model."""

    hidden: int
    width: int
    layers: int
    channels: int
    patch_size: int
    merge_size: int
    adapter_bias: bool
    adapter_norm: bool

    def weights(self, text_hidden: int) -> Iterator[Weight]:
        """Every weight of the tower (divided over tp) and of the adapter (copied)."""
        yield _vision(Division.COPIED, self.hidden * self.channels * self.patch_size**2)
        yield _vision(Division.TP_RANKS, self.hidden * self.hidden, 4 * self.layers)
        yield _vision(Division.TP_RANKS, self.hidden * self.width, 3 * self.layers)
        yield _vision(Division.COPIED, self.hidden, 2 * self.layers + 1 + self.adapter_norm)
        if self.merge_size > 1:
            yield _vision(Division.COPIED, self.hidden * self.hidden * self.merge_size**2)
        yield _vision(Division.COPIED, text_hidden * (self.hidden + text_hidden))
        if self.adapter_bias:
            yield _vision(Division.COPIED, text_hidden, 2)


@dataclass(frozen=True)
class ModelShape:
    """The sizes of one checkpoint, target or draft."""

    layers: int
    dense_layers: int
    """Leading layers with one dense feed-forward in place of experts."""
    hidden: int
    heads: int
    q_lora: int
    kv_lora: int
    rope_dim: int
    nope_dim: int
    v_dim: int
    dense_width: int
    experts: int
    expert_width: int
    experts_per_token: int
    """Routed experts that the router chooses for each token, in each layer."""
    shared_experts: int
    vocab: int
    positions: int
    """Positions that the rotary table covers: YaRN's original length times its factor."""
    vision: VisionShape | None = None
    draft: bool = False
    """Whether this is an EAGLE head: it borrows the target's embedding and head, and adds one projection."""

    @classmethod
    def read(cls, checkpoint: Path, *, draft: bool = False) -> "ModelShape":
        """The shape of the checkpoint in this folder; OSError without params.json, ValueError as below."""
        return cls.from_params(read(checkpoint), draft=draft)

    @classmethod
    def from_params(cls, values: Any, *, draft: bool = False) -> "ModelShape":
        """The shape in a parsed params.json.

        ValueError names the key that is missing, has a value of another type, or cannot be served.
        """
        params = Params(values)
        if params.flag("tied_embeddings", False):
            raise ValueError("tied_embeddings=True: this architecture keeps embedding and head apart")
        moe, yarn = params.part("moe"), params.optional_part("yarn")
        if (every := moe.count("route_every_n")) != 1:
            raise ValueError(f"route_every_n={every}: only layers that all route are counted")
        return cls(
            layers=params.count("n_layers"),
            dense_layers=moe.count("first_k_dense_replace", least=0),
            hidden=params.count("dim"),
            heads=params.count("n_heads"),
            q_lora=params.count("q_lora_rank"),
            kv_lora=params.count("kv_lora_rank"),
            rope_dim=params.count("qk_rope_head_dim"),
            nope_dim=params.count("qk_nope_head_dim"),
            v_dim=params.count("v_head_dim"),
            dense_width=params.count("hidden_dim"),
            experts=moe.count("num_experts"),
            expert_width=moe.count("expert_hidden_dim"),
            experts_per_token=moe.count("num_experts_per_tok"),
            shared_experts=moe.count("num_shared_experts", least=0),
            vocab=params.count("vocab_size"),
            positions=int(yarn.count("original_max_position_embeddings") * yarn.factor("factor"))
            if yarn
            else params.count("max_position_embeddings"),
            vision=_vision_shape(params.optional_part("vision_encoder")),
            draft=draft,
        )

    @property
    def qk_dim(self) -> int:
        """Width of one query or key head: the part without position and the rotated part."""
        return self.nope_dim + self.rope_dim

    def weights(self) -> Iterator[Weight]:
        """Every weight in the checkpoint, as groups of equal tensors."""
        yield from self._attention()
        yield from self._feed_forward()
        yield _norms(self.hidden, 2 * self.layers + 1)
        if self.draft:
            yield Weight(Part.EAGLE, Division.TP_RANKS, 2 * self.hidden * self.hidden)
        else:
            # Input embedding and output head, each divided over the vocabulary.
            yield Weight(Part.EMBEDDING, Division.TP_RANKS, self.vocab * self.hidden, 2, quantizable=False)
        if self.vision:
            yield from self.vision.weights(self.hidden)

    def _attention(self) -> Iterator[Weight]:
        """Multi-head latent attention: two down-projections that every rank keeps whole, the rest by head."""
        part, n = Part.ATTENTION, self.layers
        yield Weight(part, Division.COPIED, self.q_lora * self.hidden, n)
        yield Weight(part, Division.COPIED, (self.kv_lora + self.rope_dim) * self.hidden, n)
        yield Weight(part, Division.TP_RANKS, self.heads * self.qk_dim * self.q_lora, n)
        yield Weight(part, Division.TP_RANKS, self.kv_up_elements, n)
        yield Weight(part, Division.TP_RANKS, self.heads * self.v_dim * self.hidden, n)
        yield _norms(self.q_lora + self.kv_lora, n)

    @property
    def kv_up_elements(self) -> int:
        """Elements of one layer's projection from the latent to keys and values of all heads."""
        return self.heads * (self.nope_dim + self.v_dim) * self.kv_lora

    def _feed_forward(self) -> Iterator[Weight]:
        """Gate, up and down matrix of every expert; a router a layer."""
        moe_layers = self.layers - self.dense_layers
        one_expert = self.hidden * self.expert_width
        if self.dense_layers:
            yield Weight(Part.DENSE, Division.TP_RANKS, self.hidden * self.dense_width, 3 * self.dense_layers)
        if moe_layers:
            yield Weight(Part.EXPERTS, Division.ALL_RANKS, one_expert, 3 * self.experts * moe_layers)
            yield Weight(Part.ROUTER, Division.COPIED, self.experts * self.hidden, moe_layers, False)
        if moe_layers and self.shared_experts:
            shared = self.shared_experts * one_expert
            yield Weight(Part.SHARED_EXPERTS, Division.TP_RANKS, shared, 3 * moe_layers)


MISTRAL_SMALL_4 = ModelShape(
    layers=36,
    dense_layers=0,
    hidden=4096,
    heads=32,
    q_lora=1024,
    kv_lora=256,
    rope_dim=64,
    nope_dim=64,
    v_dim=128,
    dense_width=12288,
    experts=128,
    expert_width=2048,
    experts_per_token=4,
    shared_experts=1,
    vocab=131_072,
    positions=8192 * 128,
)
"""The published sizes of the text model, for planning without its checkpoint at hand."""


def _norms(num_elements: int, count: int) -> Weight:
    return Weight(Part.ROUTER, Division.COPIED, num_elements, count, quantizable=False)


def _vision(division: Division, num_elements: int, count: int = 1) -> Weight:
    return Weight(Part.VISION, division, num_elements, count, quantizable=False)


def _vision_shape(encoder: Params | None) -> VisionShape | None:
    if encoder is None:
        return None
    return VisionShape(
        hidden=encoder.count("hidden_size"),
        width=encoder.count("intermediate_size"),
        layers=encoder.count("num_hidden_layers"),
        channels=encoder.count("num_channels"),
        patch_size=encoder.count("patch_size"),
        # The next three are optional in the format, with vLLM's defaults.
        merge_size=encoder.count("spatial_merge_size")
        if encoder.text("mm_projector_id") == "patch_merge"
        else 1,
        adapter_bias=encoder.flag("adapter_bias", True),
        adapter_norm=encoder.flag("add_pre_mm_projector_layer_norm", False),
    )
