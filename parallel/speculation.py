"""How many tokens should a draft head propose, given how many are accepted and how long steps take?

With k draft tokens, a step yields 1 + s_1 + ... + s_k tokens a sequence, where s_j is the share of drafts
whose first j tokens are all accepted; the best k is that of the most tokens a second. On a sparse model a
step of few sequences is slowed by every further token, since it brings experts of its own, and a step of
many hardly is: so k depends on the batch as well as on the text. Times are the cost model's until they were
measured. Nothing here has a clock: whoever runs the steps says how long they took.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from statistics import median

from parallel.cost import Engine, speculative_s
from parallel.model_shape import ModelShape

StepTimes = Sequence[Sequence[float]]
"""[rows][K + 1] seconds of a step: by `bucket` of 1, 2, 4, ... sequences, and by k.

Only the ratios between those of a row count. A batch beyond the last row has the last row's.
"""

ASSUMED_ACCEPTANCE = 0.7
"""Share of first draft tokens taken to be accepted until any was verified."""

ASSUMED_DRAFTS = 2.0
"""As many drafts does what is assumed of a position weigh."""

UNTRIED_DRAFTS = 16
"""A position that a window tried no draft of is forgotten as by so many, if there were as many first ones."""

UNKNOWN_DRAFT_COST = 0.25
"""Share of a step that a draft token is taken to cost on a device that is not known."""

LEAST_TIMED_STEPS = 4
"""Steps that a window's typical time is taken from at least."""

LEAST_LOSS = 0.1
"""What a window at another k is charged at least: no estimate is so good that probing is free."""

MOST_CREDIT = 1.0
"""What a window can be charged at most: all that is ever saved up for one."""


@dataclass(frozen=True)
class Adapt:
    """How k follows what is observed; ValueError for a value out of its range."""

    window_steps: int = 16
    """Engine steps between two decisions: k is the same all that time."""
    min_gain: float = 0.05
    """k changes only for so much more tokens a second than the k in force is worth."""
    explore: float = 0.03
    """Share of the tokens that may be given up to learn what other values of k are worth."""
    memory_drafts: int = 64
    """Drafts that acceptance is averaged over: with more it is steadier, and later to notice new text."""

    def __post_init__(self) -> None:
        for name in ("window_steps", "memory_drafts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("min_gain", "explore"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name):g} must be at least 0 and below 1")

    def values(self) -> dict[str, float]:
        """The settings by name, as the constructor takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Window:
    """What was seen of successive steps with one k."""

    draft_tokens: int
    num_sequences: float
    """Sequences a step, on average."""
    tried: tuple[int, ...]
    """By position: drafts that had a token there and whose tokens before it were all accepted."""
    accepted: tuple[int, ...]
    """By position: those of `tried` whose token there was accepted as well."""
    step_s: float | None = None
    """Seconds of a typical step that did nothing but verify; None if there were hardly any."""


class Steps:
    """Makes windows of steps."""

    def __init__(self, max_draft_tokens: int) -> None:
        self._positions = range(max_draft_tokens)
        self._clear()

    def __len__(self) -> int:
        """Steps since the last window."""
        return len(self._num_sequences)

    def verified(self, draft_tokens: int, accepted_tokens: int) -> None:
        """A draft of so many tokens was verified, and so many of them accepted."""
        self._drafts[draft_tokens][accepted_tokens] += 1

    def counted(self, drafted: Sequence[int], accepted: Sequence[int]) -> None:
        """Drafts of about one length were verified: [K] how many had a token there, and how many kept it."""
        for position in self._positions:
            before = accepted[position - 1] if position else drafted[0]
            self._tried[position] += min(before, drafted[position])
            self._accepted[position] += accepted[position]

    def ended(self, num_sequences: int, step_s: float | None) -> None:
        """A step ended; `step_s` is None if it did anything else, or that is not known."""
        self._num_sequences.append(num_sequences)
        if step_s is not None:
            self._step_s.append(step_s)

    def window(self, draft_tokens: int) -> Window:
        """What was seen since the last window, which is at least one step, all at this k."""
        typical_s = median(self._step_s) if len(self._step_s) >= LEAST_TIMED_STEPS else None
        num_sequences = sum(self._num_sequences) / len(self._num_sequences)
        for length, by_accepted in enumerate(self._drafts):
            for num_accepted, num in enumerate(by_accepted):
                for position in self._positions[: min(length, num_accepted + 1)]:
                    self._tried[position] += num
                    self._accepted[position] += num if position < num_accepted else 0
        window = Window(draft_tokens, num_sequences, tuple(self._tried), tuple(self._accepted), typical_s)
        self._clear()
        return window

    def _clear(self) -> None:
        self._num_sequences: list[int] = []
        self._step_s: list[float] = []
        self._tried = [0 for _ in self._positions]
        self._accepted = [0 for _ in self._positions]
        # By length and number accepted: verified() is called for every draft, so it only counts.
        num = len(self._positions) + 1
        self._drafts = [[0] * num for _ in range(num)]


class Estimates:
    """What is believed of acceptance by position, and of step times by batch and k.

    Of step times only ratios between two k matter, and each is learned from windows that follow one another:
    what else makes steps slower, as growing contexts do, slows both.
    """

    def __init__(
        self, max_draft_tokens: int, memory_drafts: int, predicted_s: StepTimes | None = None
    ) -> None:
        self._predicted_s = predicted_s or unknown_times(max_draft_tokens)
        self._measured_s: dict[int, list[float]] = {}
        self._before: Window | None = None
        self._memory_drafts = memory_drafts
        self._tried = [0.0] * max_draft_tokens
        self._accepted = [0.0] * max_draft_tokens

    def learn(self, window: Window) -> None:
        """Take in what was seen: the more drafts, the less of what was seen before is kept."""
        slowly = min(window.tried[0], UNTRIED_DRAFTS)
        for position, (tried, accepted) in enumerate(zip(window.tried, window.accepted, strict=True)):
            kept = self._memory_drafts / (self._memory_drafts + max(tried, slowly))
            self._tried[position] = kept * self._tried[position] + tried
            self._accepted[position] = kept * self._accepted[position] + accepted
        before, self._before = self._before, window
        if before is None or before.step_s is None or window.step_s is None:
            return
        row = bucket(window.num_sequences)
        if row == bucket(before.num_sequences) and window.draft_tokens != before.draft_tokens:
            times = self._measured_s.setdefault(row, list(self._predicted_row(window.num_sequences)))
            ratio = window.step_s / before.step_s
            seen = times[before.draft_tokens] * ratio
            times[window.draft_tokens] = (times[window.draft_tokens] + seen) / 2

    def survival(self) -> list[float]:
        """By position: the share of drafts accepted up to there. Never rises from one to the next."""
        shares, survived, share = [], 1.0, ASSUMED_ACCEPTANCE
        for tried, accepted in zip(self._tried, self._accepted, strict=True):
            # A position nothing is known of is taken to be as the one before it.
            share = (accepted + ASSUMED_DRAFTS * share) / (tried + ASSUMED_DRAFTS)
            survived *= share
            shares.append(survived)
        return shares

    def gains(self, num_sequences: float) -> list[float]:
        """By k: tokens a second over those at k = 0, with step times as measured, else as predicted."""
        return gains(self.survival(), self.step_s(num_sequences))

    def step_s(self, num_sequences: float) -> Sequence[float]:
        """By k: seconds of a step, of which only ratios count; as measured, else as predicted."""
        return self._measured_s.get(bucket(num_sequences)) or self._predicted_row(num_sequences)

    def predicted_gains(self, num_sequences: float) -> list[float]:
        """The same with predicted step times alone; acceptance is what was seen."""
        return gains(self.survival(), self._predicted_row(num_sequences))

    def _predicted_row(self, num_sequences: float) -> Sequence[float]:
        return self._predicted_s[min(bucket(num_sequences), len(self._predicted_s) - 1)]


class DraftLength:
    """Decides k from window to window, at first `max_draft_tokens`.

    Now and then a window runs at another k, to learn what it is worth: the one that this batch size has not
    had for longest, as soon as `explore` of the windows so far makes up for what it is believed to lose.
    """

    def __init__(self, max_draft_tokens: int, adapt: Adapt, predicted_s: StepTimes | None = None) -> None:
        self.draft_tokens = max_draft_tokens
        """k in force."""
        self._adapt = adapt
        self._estimates = Estimates(max_draft_tokens, adapt.memory_drafts, predicted_s)
        self._held = max_draft_tokens
        self._credit = 0.0
        self._num_windows = 0
        self._last_ran: dict[tuple[int, int], int] = {}

    def decide(self, window: Window) -> int:
        """Learn from the window that has ended, and return k for the next one."""
        self._estimates.learn(window)
        row = bucket(window.num_sequences)
        self._num_windows += 1
        self._last_ran[row, window.draft_tokens] = self._num_windows
        worth = self._estimates.gains(window.num_sequences)
        best = worth.index(max(worth))
        if worth[best] > worth[self._held] * (1 + self._adapt.min_gain):
            self._held = best
        self._credit = min(MOST_CREDIT, self._credit + self._adapt.explore)
        probed = self.draft_tokens != self._held
        self.draft_tokens = self._held
        others = [k for k in range(len(worth)) if k != self._held]
        other = min(others, key=lambda k: (self._last_ran.get((row, k), 0), -k))
        # In tokens of a window at the k in force: one of longer steps loses for longer.
        step_s = self._estimates.step_s(window.num_sequences)
        longer = max(1.0, step_s[other] / step_s[self._held])
        loss = min(MOST_CREDIT, max(LEAST_LOSS, (1 - worth[other] / worth[self._held]) * longer))
        if not probed and self._credit >= loss:
            self._credit -= loss
            self.draft_tokens = other
        return self.draft_tokens


def gains(survival: Sequence[float], step_s: Sequence[float]) -> list[float]:
    """By k: tokens a second over those at k = 0. `survival` [K] by position, `step_s` [K + 1] by k."""
    tokens = accumulate(survival, initial=1.0)
    return [num * step_s[0] / seconds for num, seconds in zip(tokens, step_s, strict=True)]


def bucket(num_sequences: float) -> int:
    """Which row of step times a batch belongs to: 0 for one sequence, 1 for about 2, 2 for about 4, ..."""
    return max(0, round(math.log2(max(1.0, num_sequences))))


def unknown_times(max_draft_tokens: int) -> StepTimes:
    """Step times for a device that the cost model does not know."""
    return [[1 + UNKNOWN_DRAFT_COST * k for k in range(max_draft_tokens + 1)]]


def predicted_times(
    engine: Engine,
    draft: ModelShape,
    *,
    max_sequences: int,
    context_tokens: float,
    max_draft_tokens: int,
    drafts_all: bool = False,
) -> StepTimes:
    """The cost model's step times, drafting included. A batch is one dp group's; all have as many sequences.

    The head passes at least once a step, also with k = 0, lest its cache fall behind; with `drafts_all` it
    proposes `max_draft_tokens` whatever k is, and all that k saves is their verification.
    """
    rows = []
    for row in range(bucket(max_sequences) + 1):
        sequences = float(2**row * engine.plan.dp)
        times = []
        for k in range(max_draft_tokens + 1):
            num_passes = max_draft_tokens if drafts_all else max(1, k)
            times.append(speculative_s(engine, draft, sequences, context_tokens, k, num_passes))
        rows.append(times)
    return rows
