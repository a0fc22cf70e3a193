"""Are the tabulated steps the cost model's?"""

import pytest

from parallel.cost import Engine, decode, draft_s, prefill_s, verify
from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speed import Speculation
from serve_app.simulator.step_times import step_times


@pytest.mark.parametrize("plan", [ParallelPlan(), ParallelPlan(tp=2, ep=True), ParallelPlan(dp=2)], ids=str)
def test_steps_are_those_of_the_model(plan: ParallelPlan) -> None:
    """Decoding, verifying and reading within 1 %, at batches between those that were worked out too."""
    engine = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, plan)
    speculation = Speculation(3, 2.6)
    plain, eagle = (step_times(engine, 300, 2048, one) for one in (None, speculation))
    head = speculation.head_for(MISTRAL_SMALL_4)
    for num, context in ((1, 100_000), (2, 500), (3, 50_000), (33, 4000), (270, 1000)):
        step_s = decode(engine, num, context).total_s
        assert plain.step(num, num * context, 0, 0, 0.0) == pytest.approx(step_s, rel=0.01)
        step_s = verify(engine, num, context, 3).total_s + draft_s(engine, head, num, context, 3)
        assert eagle.step(num, num * context, 3, 0, 0.0) == pytest.approx(step_s, rel=0.01)
    read_s = prefill_s(engine, 1900, 1, 2048)
    assert plain.step(0, 0.0, 0, 1900, 1900 * 950) == pytest.approx(read_s, rel=0.01)


def test_reading_beside_decoding_costs_less_than_both() -> None:
    """Weights and launches are paid for once."""
    engine = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
    times = step_times(engine, 64, 2048, None)
    alone = times.step(64, 64_000, 0, 0, 0.0), times.step(0, 0.0, 0, 1000, 500_000)
    assert max(alone) < times.step(64, 64_000, 0, 1000, 500_000) < sum(alone)
