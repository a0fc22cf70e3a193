"""How long does a step take at any batch, without working the roofline out anew?

The cost model takes a millisecond a step; who decides about every request has microseconds.
"""

from bisect import bisect_right
from dataclasses import dataclass

from parallel.cost import Engine, decode, draft_s, prefill_s, verify
from parallel.model_shape import ModelShape

CONTEXT_TOKENS = 2048
"""Mean context of the steps in a table. Context matters little on this model, whose cache is latents."""
CHUNK_TOKENS = 16_384


@dataclass(frozen=True)
class StepTable:
    """Seconds of an engine's steps; between the batches of the table times are on straight lines.

    ValueError for a table that is not rectangular, or whose batches do not rise from one.
    """

    batches: tuple[float, ...]
    """Sequences in a step, rising."""
    step_s: tuple[tuple[float, ...], ...]
    """For k = 0, 1, ... draft tokens, for each batch: seconds of a step, its drafting included."""
    prefill_base_s: float
    """What reading a prompt takes however short it is."""
    prefill_token_s: float
    """What each token of it adds."""

    def __post_init__(self) -> None:
        if not self.batches or list(self.batches) != sorted(set(self.batches)) or self.batches[0] < 1:
            raise ValueError(f"batches={self.batches} must rise from at least 1")
        if not self.step_s or any(len(row) != len(self.batches) for row in self.step_s):
            raise ValueError(
                f"step_s has rows of {[len(row) for row in self.step_s]} for {len(self.batches)} batches"
            )

    def step(self, num_sequences: float, draft_tokens: int = 0) -> float:
        """Seconds of a step; beyond the table's last batch or most draft tokens, those of the last."""
        row = self.step_s[min(draft_tokens, len(self.step_s) - 1)]
        batches = self.batches
        right = bisect_right(batches, num_sequences)
        if right == 0:
            return row[0]
        if right == len(batches):
            return row[-1]
        left = right - 1
        share = (num_sequences - batches[left]) / (batches[right] - batches[left])
        return row[left] + share * (row[right] - row[left])

    def prefill(self, num_tokens: float) -> float:
        """Seconds to read so many tokens of prompts."""
        return self.prefill_base_s + num_tokens * self.prefill_token_s


def tabulate(
    engine: Engine, max_num_seqs: int, head: ModelShape | None = None, max_draft_tokens: int = 0
) -> StepTable:
    """Tabulate the cost model for one engine, with its draft head if it has one."""
    batches = _batches(max_num_seqs)
    rows = [tuple(decode(engine, batch, CONTEXT_TOKENS).total_s for batch in batches)]
    if head is not None:
        rows += [
            tuple(_speculative(engine, head, batch, k) for batch in batches)
            for k in range(1, max_draft_tokens + 1)
        ]
    short_s, long_s = (prefill_s(engine, tokens, 1, CHUNK_TOKENS) for tokens in (1, CHUNK_TOKENS))
    token_s = (long_s - short_s) / (CHUNK_TOKENS - 1)
    return StepTable(batches, tuple(rows), short_s - token_s, token_s)


def _speculative(engine: Engine, head: ModelShape, batch: float, k: int) -> float:
    drafting_s = draft_s(engine, head, batch, CONTEXT_TOKENS, k)
    return verify(engine, batch, CONTEXT_TOKENS, k).total_s + drafting_s


def _batches(most: int) -> tuple[float, ...]:
    """1, 2, 4, ... and the most."""
    powers = [2**i for i in range(most.bit_length()) if 2**i < most]
    return (*map(float, powers), float(most))
