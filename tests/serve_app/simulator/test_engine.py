"""Does an engine keep to its limits, end what it began, and pass over steps without losing their time?"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.simulator.engine import Sequence, SimulatedEngine
from tests.serve_app.simulator.small import spec

REQUESTS = st.lists(
    st.tuples(st.floats(0, 0.2), st.integers(1, 200), st.integers(1, 60)), min_size=1, max_size=25
)
ACCEPTANCE = st.sampled_from([(), (0.7,), (0.8, 0.5, 0.3)])


class StepByStep(SimulatedEngine):
    """Makes every step an event of its own."""

    def _plan(self, now_s: float) -> None:
        super()._plan(now_s)
        if self._planned > 1:
            self._planned = 1
            self.ends_s = now_s + self._duration_s(1)


def played(engine: SimulatedEngine, requests: list[tuple[float, int, int]]) -> dict[int, tuple[float, float]]:
    """Send the requests at their times; return when each had its first and its last token."""
    ends: dict[int, tuple[float, float]] = {}
    waiting = sorted((at_s, number, prompt, answer) for number, (at_s, prompt, answer) in enumerate(requests))
    while waiting or engine.ends_s < math.inf:
        if waiting and waiting[0][0] <= engine.ends_s:
            at_s, number, prompt, answer = waiting.pop(0)
            engine.add(Sequence(number, prompt, answer), at_s)
        else:
            now_s = engine.ends_s
            for one in engine.advance():
                assert one.number not in ends
                ends[one.number] = one.first_s, now_s
        held = [*engine.reading, *(entry[2] for entry in engine.decoding)]
        assert engine.kv_used == sum(one.num_tokens for one in held) <= engine.spec.kv_tokens
        assert len(held) <= engine.spec.max_num_seqs
    assert engine.kv_used == 0
    return ends


@given(REQUESTS, ACCEPTANCE)
def test_every_request_ends_once_within_the_limits(
    requests: list[tuple[float, int, int]], acceptance: tuple[float, ...]
) -> None:
    """Whatever comes when: all are answered, and cache and places are never overdrawn."""
    ends = played(SimulatedEngine("one", spec(acceptance=acceptance)), requests)
    assert sorted(ends) == list(range(len(requests)))
    for number, (first_s, end_s) in ends.items():
        assert requests[number][0] < first_s <= end_s


@given(REQUESTS, ACCEPTANCE)
def test_many_steps_in_one_event_are_the_same_steps(
    requests: list[tuple[float, int, int]], acceptance: tuple[float, ...]
) -> None:
    """The times are those of an engine that stops at every step."""
    at_once = played(SimulatedEngine("one", spec(acceptance=acceptance)), requests)
    singly = played(StepByStep("one", spec(acceptance=acceptance)), requests)
    for number, times in at_once.items():
        assert times == pytest.approx(singly[number], rel=1e-9)


def test_prompts_share_the_budget_with_what_is_decoded() -> None:
    """A prompt of 100 tokens is read in steps of 64: its first token comes with the second step."""
    engine = SimulatedEngine("one", spec())
    engine.add(Sequence(0, 100, 1), 0.0)
    assert engine.advance() == []
    assert engine.report().prefill_tokens == 36
    assert [one.number for one in engine.advance()] == [0]


def test_what_never_fits_is_refused() -> None:
    """Instead of waiting for ever."""
    with pytest.raises(ValueError, match="501 tokens never fit into kv_tokens=500"):
        SimulatedEngine("one", spec()).add(Sequence(0, 500, 1), 0.0)


def test_a_dead_engine_gives_up_all_it_had() -> None:
    """What waited, what was read and what was decoded."""
    engine = SimulatedEngine("one", spec(max_num_seqs=2))
    for number, prompt in enumerate((10, 200, 10)):
        engine.add(Sequence(number, prompt, 50), 0.0)
    engine.advance()
    engine.advance()
    assert [len(part) for part in (engine.waiting, engine.reading, engine.decoding)] == [1, 1, 1]
    assert sorted(one.number for one in engine.take_all()) == [0, 1, 2]
    assert (engine.num_ongoing, engine.kv_used, engine.ends_s) == (0, 0, math.inf)
