"""Which shapes do the expert kernels of Mistral Small 4 have, layout by layout?"""

from dataclasses import dataclass

from parallel.model_shape import MISTRAL_SMALL_4

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)
"""Tokens of a step that are tuned for; vLLM takes the nearest of these."""


@dataclass(frozen=True)
class Shape:
    """The routed experts of one layer, as one rank holds them."""

    name: str
    local_experts: int
    """Experts on this rank."""
    width: int
    """Columns of an expert's gate on this rank; vLLM's N."""
    experts: int = MISTRAL_SMALL_4.experts
    hidden: int = MISTRAL_SMALL_4.hidden
    top_k: int = MISTRAL_SMALL_4.experts_per_token

    @property
    def divided(self) -> bool:
        """Whether ranks hold different experts (ep), rather than slices of all of them (tp)."""
        return self.local_experts < self.experts

    @property
    def expert_bytes(self) -> int:
        """FP8 bytes of one expert's gate, up and down matrices on this rank."""
        return 3 * self.hidden * self.width

    def tokens_an_expert(self, batch: int) -> float:
        """Mean tokens of an expert that has any, under uniform routing."""
        touched = self.experts * (1 - (1 - self.top_k / self.experts) ** batch)
        return batch * self.top_k / touched


def _sliced(tp: int) -> Shape:
    return Shape(f"tp{tp}", MISTRAL_SMALL_4.experts, MISTRAL_SMALL_4.expert_width // tp)


def _divided(ep: int) -> Shape:
    return Shape(f"ep{ep}", MISTRAL_SMALL_4.experts // ep, MISTRAL_SMALL_4.expert_width)


SHAPES = {shape.name: shape for shape in (_sliced(1), _sliced(2), _sliced(4), _divided(2), _divided(4))}
