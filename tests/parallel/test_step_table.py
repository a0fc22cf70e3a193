"""Tabulated step times against the cost model they come from."""

import pytest

from parallel.cost import Engine, decode, draft_s, prefill_s, verify
from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speed import Speculation
from parallel.step_table import CHUNK_TOKENS, CONTEXT_TOKENS, StepTable, straight, tabulate

ENGINE = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
HEAD = Speculation().head_for(MISTRAL_SMALL_4)


@pytest.mark.parametrize("batch", [1, 2, 8, 100])
def test_the_cost_model_at_the_tabulated_batches(batch: int) -> None:
    """At powers of two and the last batch the table is the model, for each number of draft tokens."""
    plain, drafting = tabulate(ENGINE, 100), tabulate(ENGINE, 100, HEAD, 2)
    assert (len(plain.step_s), len(drafting.step_s)) == (1, 3)
    assert plain.step(batch) == pytest.approx(decode(ENGINE, batch, CONTEXT_TOKENS).total_s)
    for k in (0, 1, 2):
        wanted = verify(ENGINE, batch, CONTEXT_TOKENS, k).total_s
        wanted += draft_s(ENGINE, HEAD, batch, CONTEXT_TOKENS, max(1, k))  # it keeps its cache
        assert drafting.step(batch, k) == pytest.approx(wanted)


@pytest.mark.parametrize("batch", [3, 12, 48, 90, 300])
def test_between_them(batch: int) -> None:
    """In between straight lines are close: within the model's own error."""
    assert tabulate(ENGINE, 512).step(batch) == pytest.approx(
        decode(ENGINE, batch, CONTEXT_TOKENS).total_s, rel=0.1
    )


@pytest.mark.parametrize(
    ("num_tokens", "error"), [(256, 0.4), (512, 1e-6), (2000, 0.4), (8192, 1e-6), (16_384, 0.4)]
)
def test_prefill(num_tokens: int, error: float) -> None:
    """Reading is a straight line through two prompts, and near the model between and around them."""
    wanted = prefill_s(ENGINE, num_tokens, 1, CHUNK_TOKENS)
    assert tabulate(ENGINE, 8).prefill(num_tokens) == pytest.approx(wanted, rel=error)


def test_beyond_the_table() -> None:
    """Past its ends a table goes on with its last values."""
    table = StepTable(((1.0, 2.0), (3.0, 4.0)), 0.0, 1.0)
    assert [table.step(n) for n in (0, 0.5, 1, 1.9, 2, 2.5, 99)] == [1, 1, 1, 1, 2, 2, 2]
    assert [table.step(1, k) for k in (0, 1, 2)] == [1, 3, 3]


def test_straight() -> None:
    """Values at whole numbers, on lines between the points."""
    assert straight({1: 1.0, 3: 2.0, 5: 6.0}) == (1.0, 1.5, 2.0, 4.0, 6.0)
    assert straight({1: 7.0}) == (7.0,)


@pytest.mark.parametrize("rows", [(), ((),), ((1.0,), (1.0, 2.0))])
def test_what_is_no_table(rows: tuple[tuple[float, ...], ...]) -> None:
    """Rows of one length, and at least one value."""
    with pytest.raises(ValueError, match="step_s must have rows of one length of at least 1, not"):
        StepTable(rows, 0.0, 0.0)
