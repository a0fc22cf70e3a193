"""How does the model in training answer? Decoding of a whole batch at once, without an engine.

Shape legend: T tokens of all texts, B texts, N room of each in the cache, H heads, V vocabulary.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from deploy.pocket.batches import Batch
from deploy.pocket.model import PocketModel
from deploy.pocket.shape import END_OF_TEXT

NEARLY_DONE = 0.005
"""Nobody waits for the last few texts of a batch that may never end."""


@dataclass
class Cache:
    """The keys and values of all layers, each [B, H, N, any]; grows by one layer at a time."""

    room: int
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def add(self, owners: Tensor, positions: Tensor, num_texts: int, k: Tensor, v: Tensor) -> None:
        """Take in a layer's keys and values [T, H, any] of tokens at these places."""
        for held, new in ((self.keys, k), (self.values, v)):
            place = new.new_zeros(num_texts, new.shape[1], self.room, new.shape[2])
            place[owners, :, positions] = new
            held.append(place)

    def attend(self, layer: int, positions: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One new token a text at `positions` [B]; q, k, v [B, H, any] -> [B, H, any]."""
        keys, values = self.keys[layer], self.values[layer]
        row = torch.arange(len(positions), device=q.device)
        keys[row, :, positions], values[row, :, positions] = k, v
        visible = torch.arange(self.room, device=q.device) <= positions[:, None]
        out = functional.scaled_dot_product_attention(
            q[:, :, None], keys, values, attn_mask=visible[:, None, None]
        )
        return out[:, :, 0]


@torch.no_grad()
def answers(
    model: PocketModel, batch: Batch, temperature: float, max_tokens: int, generator: torch.Generator
) -> list[Tensor]:
    """The model's answer to each text's prompt: token ids with the end of the text, if it was reached.

    The batch has the right answers too; they are read past, and never seen by the tokens that are drawn.
    """
    texts, num_texts = batch.texts, len(batch.families)
    place = texts.tokens.device
    starts = texts.spans.starts.long()
    owners = torch.bucketize(torch.arange(len(texts.tokens), device=place), starts[1:], right=True)
    num_prompt = torch.tensor([len(prompt) for prompt in batch.prompts()], device=place)
    first = starts[:num_texts] + num_prompt - 1
    mine = owners < num_texts
    room = int(max(int(num_prompt.max()) + max_tokens, int(texts.positions.max()) + 1))
    cache = Cache(room)

    def read(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        cache.add(owners[mine], texts.positions[mine], num_texts, k[mine], v[mine])
        return texts.spans.attend(q, k, v, causal=True)

    hidden, _ = model.decode(model.embed(texts), texts.positions, read)
    last, positions = hidden[first], num_prompt
    drawn = []
    going = torch.ones(num_texts, dtype=torch.bool, device=place)
    for _ in range(max_tokens):
        token = draw(model.output(last).float(), temperature, generator)
        drawn.append(torch.where(going, token, END_OF_TEXT))
        going &= token != END_OF_TEXT
        if going.float().mean() < NEARLY_DONE:
            break
        now = positions

        def write(layer: int, q: Tensor, k: Tensor, v: Tensor, now: Tensor = now) -> Tensor:
            return cache.attend(layer, now, q, k, v)

        last, _ = model.decode(model.tok_embeddings(token), positions, write)
        positions = positions + 1
    rows = torch.stack(drawn, dim=1).cpu()
    return [row[: int((row != END_OF_TEXT).sum()) + 1] for row in rows]


def draw(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """One token a row of logits [B, V]: the most probable at temperature 0, else at random."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits / temperature).softmax(-1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]
