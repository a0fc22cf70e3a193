"""How long does a step take at any batch, without working the roofline out anew?

The cost model takes a good part of a millisecond a step; who decides about every request has microseconds.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from parallel.cost import Engine, decode, prefill_s, speculative_s
from parallel.model_shape import ModelShape

CONTEXT_TOKENS = 2048
"""Mean context of the steps in a table. Context matters little on this model, whose cache is latents."""
PROMPTS_TOKENS = (512, 8192)
"""The two prompts that the straight line for reading goes through; from 256 to 16,384 tokens it is off the
model by up to 40 % on H200."""
CHUNK_TOKENS = 16_384


@dataclass(frozen=True)
class StepTable:
    """Seconds of an engine's steps. ValueError for a table that is not rectangular, or empty."""

    step_s: tuple[tuple[float, ...], ...]
    """For 0, 1, ... draft tokens, for 1, 2, ... sequences: seconds of a step, its drafting included."""
    prefill_base_s: float
    """What reading a prompt takes however short it is."""
    prefill_token_s: float
    """What each token of it adds."""

    def __post_init__(self) -> None:
        lengths = {len(row) for row in self.step_s}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"step_s must have rows of one length of at least 1, not {sorted(lengths)}")

    def step(self, num_sequences: float, draft_tokens: int = 0) -> float:
        """Seconds of a step; beyond the table's last batch or most draft tokens, those of the last."""
        row = self.step_s[draft_tokens] if draft_tokens < len(self.step_s) else self.step_s[-1]
        if num_sequences < 1:
            return row[0]
        return row[int(num_sequences) - 1] if num_sequences < len(row) else row[-1]

    def prefill(self, num_tokens: float) -> float:
        """Seconds to read so many tokens of prompts."""
        return self.prefill_base_s + num_tokens * self.prefill_token_s


def _step_s(engine: Engine, head: ModelShape | None, batch: int, draft_tokens: int) -> float:
    if head is None:
        return decode(engine, batch, CONTEXT_TOKENS).total_s
    # Where nothing is drafted for once, the head still passes, lest its cache fall behind.
    return speculative_s(engine, head, batch, CONTEXT_TOKENS, draft_tokens, max(1, draft_tokens))


def straight(points: Mapping[int, float]) -> tuple[float, ...]:
    """Return the values at 1, 2, ... up to the last of `points`, which begin at 1: straight lines between."""
    xs = sorted(points)
    values = []
    for x in range(1, xs[-1] + 1):
        right = bisect_left(xs, x)
        high = xs[right]
        low = xs[max(0, right - 1)]
        share = (x - low) / (high - low) if high > low else 0.0
        values.append(points[low] + share * (points[high] - points[low]))
    return tuple(values)


def batches(max_num_seqs: int) -> list[int]:
    """Return the batches at which a table has points of its own: the powers of two, and the largest."""
    return sorted({2**i for i in range(max_num_seqs.bit_length())} | {max_num_seqs})


def tabulate(
    engine: Engine, max_num_seqs: int, head: ModelShape | None = None, max_draft_tokens: int = 0
) -> StepTable:
    """Tabulate the cost model for one engine, with its draft head if it has one.

    It is worked out at powers of two; between them times are taken to be on straight lines.
    """
    rows = [
        straight({batch: _step_s(engine, head, batch, k) for batch in batches(max_num_seqs)})
        for k in range(max_draft_tokens + 1 if head else 1)
    ]
    short, long = PROMPTS_TOKENS
    short_s, long_s = (prefill_s(engine, tokens, 1, CHUNK_TOKENS) for tokens in PROMPTS_TOKENS)
    token_s = (long_s - short_s) / (long - short)
    return StepTable(tuple(rows), max(0.0, short_s - short * token_s), token_s)
