"""How do examples become batches of one fixed number of tokens?

Shape legend: T tokens of all texts, S predicted tokens (those of the answers), P patches of all images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from deploy.pocket.data import Encoded, Encoder, Split, examples
from deploy.pocket.ragged import Images, Spans, Texts, moved
from deploy.pocket.shape import IMAGE_TOKEN, Shape

PADDING_TOKEN = 11
MAX_TEXT_TOKENS = 640
"""Longer examples, which are rare, are left out: a bound that never changes keeps compiled kernels in use."""


@dataclass(frozen=True)
class Batch:
    """Texts and what is to be learned of them.

    `predictors` int64 [S], the tokens after which an answer's token follows; `targets` int64 [S], those that
    follow; `owners` int64 [S], the number of the text; `families`, of each text, with its effort.
    """

    texts: Texts
    predictors: Tensor
    targets: Tensor
    owners: Tensor
    families: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        predictors, targets, owners = (
            part.to(device, non_blocking=True) for part in (self.predictors, self.targets, self.owners)
        )
        return Batch(moved(self.texts, device), predictors, targets, owners, self.families)

    def prompts(self) -> list[Tensor]:
        """Each text without its answer."""
        starts = self.texts.spans.starts.tolist()
        ends = torch.full((len(self.families),), len(self.texts.tokens), device=self.owners.device)
        ends = ends.scatter_reduce_(0, self.owners, self.predictors, "amin").tolist()
        return [self.texts.tokens[start : end + 1] for start, end in zip(starts, ends, strict=False)]

    def with_answers(self, answers: Sequence[Tensor]) -> Texts:
        """The prompts with other answers, without padding at the end.

        A model may say an image's token too, but there is no image behind it: only the prompts have slots.
        """
        pairs = list(zip(self.prompts(), answers, strict=True))
        tokens = torch.cat([part for pair in pairs for part in pair])
        lengths = [len(prompt) + len(answer) for prompt, answer in pairs]
        positions = torch.cat([torch.arange(length) for length in lengths]).to(tokens.device)
        spans = moved(Spans.of(lengths), tokens.device)
        is_slot = [
            (prompt == IMAGE_TOKEN, torch.zeros_like(answer, dtype=torch.bool)) for prompt, answer in pairs
        ]
        slots = torch.cat([part for pair in is_slot for part in pair]).nonzero()[:, 0]
        return Texts(tokens, positions, spans, self.texts.images, slots)


def pack(encoded: Sequence[Encoded], families: Sequence[str], num_tokens: int, shape: Shape) -> Batch:
    """Put texts end to end, and fill up to `num_tokens` with padding, of which nothing is learned."""
    lengths = [len(one.tokens) for one in encoded]
    assert sum(lengths) <= num_tokens, (sum(lengths), num_tokens)
    assert max(lengths) <= MAX_TEXT_TOKENS, (max(lengths), MAX_TEXT_TOKENS)
    tokens = np.full(num_tokens, PADDING_TOKEN, dtype=np.int64)
    positions = np.zeros(num_tokens, dtype=np.int64)
    predictors, owners = [], []
    start = 0
    for number, one in enumerate(encoded):
        end = start + len(one.tokens)
        tokens[start:end] = one.tokens
        positions[start:end] = np.arange(end - start)
        predictors.append(np.arange(start + one.num_prompt_tokens - 1, end - 1))
        owners.append(np.full(end - start - one.num_prompt_tokens, number))
        start = end
    filling = [min(MAX_TEXT_TOKENS, num_tokens - at) for at in range(start, num_tokens, MAX_TEXT_TOKENS)]
    predicted = torch.from_numpy(np.concatenate(predictors))
    texts = Texts(
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        Spans.of(lengths + filling, MAX_TEXT_TOKENS),
        cut([image for one in encoded for image in one.images], shape),
        torch.from_numpy(np.flatnonzero(tokens == IMAGE_TOKEN)),
    )
    owner = torch.from_numpy(np.concatenate(owners))
    return Batch(texts, predicted, texts.tokens[predicted + 1], owner, tuple(families))


def cut(images: Sequence[np.ndarray], shape: Shape) -> Images | None:
    """Cut images [3, height, width] into patches, row by row."""
    if not images:
        return None
    side, merge = shape.patch_size, shape.merge_size
    pixels, rows, cols, order = [], [], [], []
    counts: list[int] = []
    for image in images:
        height, width = image.shape[1] // side, image.shape[2] // side
        patches = image.reshape(3, height, side, width, side).transpose(1, 3, 0, 2, 4)
        pixels.append(patches.reshape(height * width, -1))
        grid = np.arange(height * width).reshape(height, width)
        rows.append(grid.flatten() // width)
        cols.append(grid.flatten() % width)
        blocks = grid.reshape(height // merge, merge, width // merge, merge).transpose(0, 2, 1, 3)
        order.append(blocks.flatten() + sum(counts))
        counts.append(height * width)
    joined = (torch.from_numpy(np.concatenate(parts)) for parts in (pixels, rows, cols, order))
    patches_of_all, row, col, merge_order = joined
    most = (shape.max_image_size // side) ** 2
    return Images(patches_of_all, row, col, Spans.of(counts, most), merge_order)


class _Stream(IterableDataset[Batch]):
    def __init__(self, source: "Source", seed: int) -> None:
        self._source, self._seed = source, seed

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        info = get_worker_info()
        return self._source.batches(self._seed * 1000 + (info.id if info else 0), "train")


@dataclass(frozen=True)
class Source:
    """Where batches of `num_tokens` tokens come from; `weights` replaces some of the families'."""

    tekken: Path
    num_tokens: int
    shape: Shape
    weights: Mapping[str, float] = field(default_factory=dict)

    def batches(self, seed: int, split: Split) -> Iterator[Batch]:
        """Batches without end, the same for the same arguments."""
        encoder = Encoder(self.tekken)
        held: list[Encoded] = []
        families: list[str] = []
        room = self.num_tokens
        for example in examples(seed, split, weights=self.weights):
            encoded = encoder.encode(example)
            if len(encoded.tokens) > MAX_TEXT_TOKENS:
                continue
            if len(encoded.tokens) > room:
                yield pack(held, families, self.num_tokens, self.shape)
                held, families, room = [], [], self.num_tokens
            held.append(encoded)
            families.append(f"{example.family} {example.effort}")
            room -= len(encoded.tokens)

    def stream(self, seed: int, num_workers: int) -> Iterator[Batch]:
        """Training batches made by `num_workers` processes, each with a seed of its own; by this one if 0."""
        loader = DataLoader(
            _Stream(self, seed),
            batch_size=None,
            num_workers=num_workers,
            prefetch_factor=4 if num_workers else None,
            in_order=False,  # nobody waits for the slowest
            timeout=120 if num_workers else 0,
        )
        return iter(loader)
