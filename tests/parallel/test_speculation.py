"""Does k find what yields the most tokens a second, and follow it, and what does looking for it cost?"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel.cost import Engine, decode, draft_s, verify
from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speculation import (
    LEAST_LOSS,
    Adapt,
    DraftLength,
    Estimates,
    Steps,
    Window,
    bucket,
    gains,
    predicted_times,
    unknown_times,
)
from parallel.speed import usual_head

MOST = 3
EASY, HARD = [0.9, 0.8, 0.75], [0.15, 0.1, 0.1]
"""Share of drafts whose token at this position is accepted when those before it are."""
STEEP, FLAT = [1.0, 1.35, 1.65, 1.9], [1.0, 1.05, 1.1, 1.15]
"""Seconds of a step by k: where every token brings experts of its own, and where all are loaded anyway."""

ENGINE = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
HEAD = usual_head(MISTRAL_SMALL_4)


def best(share: Sequence[float], step_s: Sequence[float]) -> int:
    """The k of the most tokens a second."""
    survival = [share[0], share[0] * share[1], share[0] * share[1] * share[2]]
    worth = gains(survival, step_s)
    return worth.index(max(worth))


class SimulatedEngine:
    """Runs windows of drafts that are accepted by chance, in steps that take as long as they are said to."""

    def __init__(self, control: DraftLength, seed: int = 0, noise: float = 0.02) -> None:
        self.control = control
        self.ran: list[int] = []
        self.tokens = self.seconds = 0.0
        self._random = Random(seed)
        self._noise = noise

    def run(
        self,
        num_windows: int,
        share: Sequence[float],
        step_s: Sequence[float],
        num_sequences: int = 1,
        slower: Callable[[int], float] = lambda window: 1.0,
    ) -> "SimulatedEngine":
        """Run windows of 16 steps; `slower` is what times are multiplied by in a window."""
        steps = Steps(MOST)
        for number in range(num_windows):
            k = self.control.draft_tokens
            self.ran.append(k)
            for _ in range(16):
                for _ in range(num_sequences):
                    accepted = 0
                    while accepted < k and self._random.random() < share[accepted]:
                        accepted += 1
                    steps.verified(k, accepted)
                    self.tokens += (1 + accepted) / num_sequences
                seconds = step_s[k] * slower(number)
                self.seconds += seconds
                steps.ended(num_sequences, seconds * self._random.gauss(1, self._noise))
            self.control.decide(steps.window(k))
        return self


def mostly(ran: Sequence[int]) -> int:
    """The k that most windows had."""
    return max(set(ran), key=list(ran).count)


@pytest.mark.parametrize("num_sequences", [1, 32])
@pytest.mark.parametrize(
    ("share", "step_s", "wanted"), [(EASY, STEEP, 3), (HARD, STEEP, 0), (EASY, FLAT, 3), (HARD, FLAT, 1)]
)
@pytest.mark.parametrize("believed", [STEEP, FLAT, None])
def test_it_converges_whatever_was_predicted(
    share: list[float], step_s: list[float], wanted: int, believed: list[float] | None, num_sequences: int
) -> None:
    """After 100 windows it yields 93 % of what the best k does, probes and all."""
    assert best(share, step_s) == wanted
    control = DraftLength(MOST, Adapt(), [believed] * 6 if believed else None)
    engine = SimulatedEngine(control).run(100, share, step_s, num_sequences)
    engine.tokens = engine.seconds = 0.0
    engine.run(300, share, step_s, num_sequences)
    at_best = SimulatedEngine(DraftLength(MOST, Adapt(min_gain=0.99, explore=0.0)))
    at_best.control.draft_tokens = at_best.control._held = wanted
    at_best.run(300, share, step_s, num_sequences)
    assert set(at_best.ran) == {wanted}
    assert engine.tokens / engine.seconds > 0.93 * at_best.tokens / at_best.seconds


def test_it_follows_the_text() -> None:
    """From text that is easy to draft to hard text and back, with one sequence, within 25 and 60 windows."""
    engine = SimulatedEngine(DraftLength(MOST, Adapt())).run(60, EASY, STEEP)
    assert mostly(engine.ran) == 3
    engine.run(60, HARD, STEEP)
    assert mostly(engine.ran[60 + 25 :]) == 0
    engine.run(90, EASY, STEEP)
    assert mostly(engine.ran[120 + 60 :]) == 3


def test_it_follows_the_batch() -> None:
    """With the cost model's times and middling acceptance: the valley at a batch of 8, the ridge at 64."""
    share = [0.3, 0.33, 0.5]
    times = predicted_times(
        ENGINE, HEAD, max_sequences=64, context_tokens=2048, max_draft_tokens=MOST, drafts_all=True
    )
    engine = SimulatedEngine(DraftLength(MOST, Adapt(), times))
    engine.run(60, share, times[3], num_sequences=8)
    assert mostly(engine.ran[30:]) == best(share, times[3]) == 0
    engine.run(60, share, times[6], num_sequences=64)
    assert mostly(engine.ran[90:]) in (2, 3)
    assert best(share, times[6]) == 3


def test_what_slows_every_step_changes_nothing() -> None:
    """Contexts grow until steps take five times as long; k stays."""
    engine = SimulatedEngine(DraftLength(MOST, Adapt())).run(100, EASY, STEEP)
    engine.run(300, EASY, STEEP, slower=lambda window: 1 + window / 75)
    assert engine.ran[100:].count(3) > 250


def test_what_is_known_of_later_drafts_is_kept_while_they_are_not_tried() -> None:
    """Second drafts never pass: at 8 requests k stays at 1, though each window has 128 first drafts."""
    step_s = [10.1, 14.6, 18.8, 21.6]
    control = DraftLength(MOST, Adapt(explore=0.0), [step_s] * 4)
    engine = SimulatedEngine(control).run(100, [0.9, 0.0, 0.0], step_s, num_sequences=8)
    assert engine.ran[20:].count(1) >= 76


def test_probes_of_long_steps_are_rare_but_there_are_some() -> None:
    """No draft is accepted, and each makes a step much longer: looking costs 5 % of the tokens at most."""
    steep = [1.0, 1.5, 2.1, 2.6]
    engine = SimulatedEngine(DraftLength(MOST, Adapt(), [steep])).run(40, [0.0] * 3, steep)
    engine.tokens = engine.seconds = 0.0
    engine.run(400, [0.0] * 3, steep)
    assert 0.95 < engine.tokens / engine.seconds < 1
    assert all(engine.ran[40:].count(k) >= 4 for k in range(MOST + 1))


def test_a_small_gain_is_none() -> None:
    """What is worth less than min_gain more than the k in force is not worth a change."""
    almost = [1.0, 1.0, 1.0, 1.04]
    never = [0.0, 0.0, 0.0]
    for min_gain, stays in ((0.08, True), (0.0, False)):
        control = DraftLength(MOST, Adapt(min_gain=min_gain, explore=0.0), [almost])
        engine = SimulatedEngine(control, noise=0).run(40, never, almost)
        assert (engine.ran[-1] == MOST) is stays


def windows(most: int) -> st.SearchStrategy[Window]:
    """Any window that can be."""

    def of(counts: list[int], k: int, num_sequences: float, step_s: float | None) -> Window:
        falling = sorted(counts[: most + 1], reverse=True)
        tried = tuple(falling[j] if j < k else 0 for j in range(most))
        accepted = tuple(falling[j + 1] if j < k else 0 for j in range(most))
        return Window(k, num_sequences, tried, accepted, step_s)

    return st.builds(
        of,
        st.lists(st.integers(0, 2000), min_size=most + 1, max_size=most + 1),
        st.integers(0, most),
        st.floats(0.1, 2000),
        st.none() | st.floats(1e-6, 1e3),
    )


@given(st.lists(windows(MOST), max_size=40), st.floats(0, 0.5))
def test_k_is_always_one_that_there_is(seen: list[Window], explore: float) -> None:
    """Whatever is reported, k stays in range, and probes are no more than their price allows."""
    control = DraftLength(MOST, Adapt(explore=explore))
    num_probes = 0
    for window in seen:
        assert 0 <= control.decide(window) <= MOST
        num_probes += control.draft_tokens != control._held
    assert num_probes * LEAST_LOSS <= explore * len(seen) + 1e-9


@given(st.lists(windows(MOST), max_size=20))
def test_survival_falls(seen: list[Window]) -> None:
    """A draft accepted up to a position was accepted up to the one before."""
    estimates = Estimates(MOST, 64)
    for window in seen:
        estimates.learn(window)
    survival = [1.0, *estimates.survival(), 0.0]
    assert survival == sorted(survival, reverse=True)


@given(st.integers(0, 4), st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_both_ways_to_count_agree(k: int, accepted: list[int]) -> None:
    """Draft by draft, and by position as vLLM's counts are, where all drafts are of one length."""
    one_by_one, by_position = Steps(4), Steps(4)
    drafted, kept = [0] * 4, [0] * 4
    for number in (min(k, one) for one in accepted):
        one_by_one.verified(k, number)
        for position in range(k):
            drafted[position] += 1
            kept[position] += position < number
    by_position.counted(drafted, kept)
    one_by_one.ended(1, None)
    by_position.ended(1, None)
    assert one_by_one.window(k) == by_position.window(k)


def test_a_window_is_what_was_seen_since_the_last() -> None:
    """Means of sequences, the median of the times that are known, and then nothing."""
    steps = Steps(2)
    steps.verified(2, 1)
    for num_sequences, step_s in ((1, 3.0), (3, 1.0), (5, None), (3, 3.5), (3, 9.0)):
        steps.ended(num_sequences, step_s)
    assert len(steps) == 5
    assert steps.window(2) == Window(2, 3.0, (1, 1), (1, 0), 3.25)
    steps.ended(1, 3.0)
    assert steps.window(2) == Window(2, 1.0, (0, 0), (0, 0), None)


@pytest.mark.parametrize(
    ("num_sequences", "row"), [(0.2, 0), (1, 0), (2, 1), (2.7, 1), (3, 2), (64, 6), (100, 7)]
)
def test_buckets_are_powers_of_two(num_sequences: float, row: int) -> None:
    """A batch belongs to the power of two that is nearest by ratio."""
    assert bucket(num_sequences) == row


def test_predicted_times_are_the_cost_models() -> None:
    """Drafting is in them: a pass a token and at least one, or always the most."""
    options = {"max_sequences": 9, "context_tokens": 512, "max_draft_tokens": 2}
    least = predicted_times(ENGINE, HEAD, **options)  # type: ignore[arg-type]
    most = predicted_times(ENGINE, HEAD, **options, drafts_all=True)
    assert [len(row) for row in least] == [3] * 4
    one_pass_s = draft_s(ENGINE, HEAD, 8, 512, 1)
    assert least[3][0] == pytest.approx(decode(ENGINE, 8, 512).total_s + one_pass_s)
    assert least[3][2] == pytest.approx(verify(ENGINE, 8, 512, 2).total_s + 2 * one_pass_s)
    assert [a - b for a, b in zip(most[3], least[3], strict=True)] == pytest.approx([one_pass_s] * 2 + [0])


def test_a_batch_is_one_groups() -> None:
    """With dp 2, one sequence for each of two groups passes through the experts."""
    both = replace(ENGINE, plan=ParallelPlan(dp=2))
    ((seconds, _),) = predicted_times(
        both, HEAD, max_sequences=1, context_tokens=512, max_draft_tokens=1, drafts_all=True
    )
    assert seconds == pytest.approx(decode(both, 2, 512).total_s + draft_s(both, HEAD, 2, 512, 1))


def test_an_unknown_device_has_one_row() -> None:
    """It holds for every batch."""
    assert unknown_times(2) == [[1.0, 1.25, 1.5]]
    assert Estimates(2, 64).gains(500) == Estimates(2, 64).predicted_gains(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_steps": 0}, "window_steps=0 must be at least 1"),
        ({"memory_drafts": -1}, "memory_drafts=-1 must be at least 1"),
        ({"min_gain": 1.0}, "min_gain=1 must be at least 0 and below 1"),
        ({"explore": -0.1}, "explore=-0.1 must be at least 0 and below 1"),
    ],
)
def test_settings_out_of_range(changes: dict[str, float], message: str) -> None:
    """The error names the field and its value."""
    with pytest.raises(ValueError, match=message):
        Adapt(**changes)  # type: ignore[arg-type]
