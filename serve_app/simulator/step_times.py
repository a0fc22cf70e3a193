"""How long does a simulated step take? The cost model's parts, tabulated so that a step is a few additions.

The cost model adds up parts, and each part depends on one quantity: the layers on the tokens of the step, the
head on the positions that are sampled, attention on tokens times context, to which it is proportional, though
one sequence's context is read in no less than a certain time. So

    step = layers(tokens) + head(positions) + context(sequences) * contexts + prefill_context * contexts read

is the model itself, with straight lines between the batches at which `layers` and `head` are worked out.
"""

from dataclasses import dataclass, replace

from parallel.cost import Batch, Engine, step_time
from parallel.speed import Speculation
from parallel.step_table import straight

MANY = 4096
"""Tokens or sequences where proportional parts are read off: any batch that fills all dp groups would do."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds of the steps of one engine with a fixed number of draft tokens."""

    layers_s: tuple[float, ...]
    """For 1, 2, ... tokens of a step."""
    head_s: tuple[float, ...]
    """For 1, 2, ... sampled positions: what the head takes more than for one."""
    draft_s: tuple[float, ...]
    """For 1, 2, ... sequences: all passes through the draft head, without their attention."""
    decode_context_s: float
    """For a token of context of a sequence that is decoded among many, its drafting included."""
    alone_context_s: float
    """The same of one that is decoded alone."""
    prefill_context_s: float
    """For a token of a prompt that is read, and each token that it attends to."""

    def step(
        self, num_decoding: int, context_tokens: float, draft_tokens: int, num_read: int, pairs: float
    ) -> float:
        """Seconds of one step.

        `context_tokens` is the sum over the decoded sequences; `num_read` are tokens of prompts, and
        `pairs` the sum over them of the tokens that each attends to.
        """
        positions = num_decoding * (draft_tokens + 1)
        seconds = self.layers_s[min(positions + num_read, len(self.layers_s)) - 1]
        seconds += self.prefill_context_s * pairs
        if positions:
            seconds += self.context_s(num_decoding) * context_tokens
            seconds += self.head_s[min(positions, len(self.head_s)) - 1]
            seconds += self.draft_s[min(num_decoding, len(self.draft_s)) - 1]
        return seconds

    def context_s(self, num_decoding: int) -> float:
        """Seconds for a token of context of one of so many decoded sequences: a few take as long as one."""
        return max(self.decode_context_s, self.alone_context_s / num_decoding)


def step_times(
    engine: Engine, max_num_seqs: int, max_tokens: int, speculation: Speculation | None
) -> StepTimes:
    """Tabulate an engine's steps of up to `max_tokens` tokens and `max_num_seqs` decoded sequences."""
    k = speculation.draft_tokens if speculation else 0
    one = _seconds(engine, 1, 1)
    most = max_num_seqs * (k + 1)
    layers = straight({n: _seconds(engine, n, 1) for n in _grid(max(max_tokens, most))})
    head = straight({n: _seconds(engine, 1, n) - one for n in _grid(most)})
    draft: tuple[float, ...] = (0.0,) * max_num_seqs
    many_s, alone_s = (_context_s(engine, k + 1, number) for number in (MANY, 1))
    if speculation:
        drafting = replace(engine, shape=speculation.head_for(engine.shape))
        draft = straight({n: k * _seconds(drafting, n, n) for n in _grid(max_num_seqs)})
        many_s += k * _context_s(drafting, 1, MANY)
        alone_s += k * _context_s(drafting, 1, 1)
    reading = Batch(MANY, 1, 1, 1000, prefill=True)
    pair_s = step_time(engine, reading).cache_s / (MANY * 1000)
    return StepTimes(layers, head, draft, many_s, alone_s, pair_s)


def _seconds(engine: Engine, num_tokens: int, num_positions: int) -> float:
    return step_time(engine, Batch(num_tokens, num_positions, num_positions, 0)).total_s


def _context_s(engine: Engine, tokens_each: int, num_sequences: int) -> float:
    batch = Batch(num_sequences * tokens_each, num_sequences, 1, 1000)
    return step_time(engine, batch).cache_s / (num_sequences * 1000)


def _grid(most: int) -> list[int]:
    """Return 1 to `most` in steps of about a fifth."""
    points = [1]
    while points[-1] < most:
        points.append(min(most, max(points[-1] + 1, round(points[-1] * 1.2))))
    return points
