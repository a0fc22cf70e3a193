"""How do texts and images of different lengths travel together? End to end, without padding.

Shape legend: T tokens of all texts, P patches of all images, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Spans:
    """Where sequences that stand end to end begin: `starts` int32 [n+1], from 0 to their total length."""

    starts: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], longest: int | None = None) -> "Spans":
        """The spans of sequences of these lengths, none over `longest`."""
        ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return cls(ends, longest or max(lengths, default=0))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
        """Softmax attention within each sequence: [T, H, any] thrice -> [T, H, A]."""
        if q.is_cuda:
            from torch.nn.attention.varlen import varlen_attn

            window = (-1, 0) if causal else (-1, -1)
            out: Tensor = varlen_attn(
                q, k, v, self.starts, self.starts, self.longest, self.longest, window_size=window
            )
            return out
        sequence = torch.bucketize(torch.arange(len(q), device=q.device), self.starts[1:], right=True)
        mask = sequence[:, None] == sequence[None, :]
        if causal:
            mask = mask.tril()
        q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)[0].transpose(0, 1)


@dataclass(frozen=True)
class Images:
    """All images of a batch, cut into patches.

    `pixels` [P, 3 * patch * patch]; `rows`, `cols` int64 [P], each patch's place in its image; `spans`, the
    images; `merge_order` int64 [P], which patches become one embedding, those of one after the other.
    """

    pixels: Tensor
    rows: Tensor
    cols: Tensor
    spans: Spans
    merge_order: Tensor


@dataclass(frozen=True)
class Texts:
    """Tokens of texts that stand end to end.

    `tokens`, `positions` int64 [T]; `spans`, the texts; `images`, or None; `image_slots` int64, which tokens
    are an image's and take its embeddings, in order.
    """

    tokens: Tensor
    positions: Tensor
    spans: Spans
    images: Images | None
    image_slots: Tensor


Moved = TypeVar("Moved", bound=Spans | Images | Texts)


def moved(value: Moved, device: torch.device) -> Moved:
    """The same frozen value with every tensor in it on another device."""
    changes = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if isinstance(part, Tensor):
            part = part.to(device, non_blocking=True)
        elif isinstance(part, (Spans, Images, Texts)):
            part = moved(part, device)
        changes[field.name] = part
    return type(value)(**changes)
