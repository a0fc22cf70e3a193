"""What a request is predicted to see: the table's times, what is measured, and what waits before it."""

from dataclasses import replace

import pytest

from parallel.step_table import StepTable
from serve_app.router.prediction import (
    GUESSED_ANSWER_TOKENS,
    Forecast,
    Outlook,
    corrections,
    expected_acceptance,
    predict,
)
from serve_app.types import Effort, PoolSnapshot, ReplicaReport, ReplicaSnapshot

TABLE = StepTable(((0.01, 0.02, 0.03, 0.04), (0.02, 0.04, 0.06, 0.08)), 0.1, 0.001)
IDLE = ReplicaReport("r")
MEASURED = ReplicaReport(
    "r", batch_size=2.0, per_token_s=0.03, prefill_s=0.6, prefill_mean_tokens=200.0, answer_tokens=100.0
)
"""Its steps take 1.5 times the table's time, its reading twice."""


def outlook(report: ReplicaReport, leased: int = 0, leased_tokens: int = 0) -> Outlook:
    """Return the outlook of one replica with four places."""
    replica = ReplicaSnapshot(report, 0.0, leased, leased_tokens)
    (one,) = Forecast(TABLE).outlooks(PoolSnapshot("p", frozenset(Effort), (replica,), max_num_seqs=4))
    return one


@pytest.mark.parametrize(
    ("report", "leased", "wanted"),
    [
        pytest.param(IDLE, 0, (0, 0.1, 0.001, 0.01), id="idle, nothing measured"),
        pytest.param(IDLE, 2, (0, 0.1, 0.001, 0.03), id="two were sent since"),
        pytest.param(replace(IDLE, num_ongoing=2), 0, (0, 0.1, 0.001, 0.03), id="two ongoing"),
        pytest.param(replace(IDLE, prefill_tokens=500), 0, (0.5, 0.1, 0.001, 0.01), id="prompts before it"),
        pytest.param(replace(IDLE, stalled_s=3.0), 0, (3.0, 0.1, 0.001, 0.01), id="an engine that stands"),
        pytest.param(MEASURED, 0, (0, 0.2, 0.002, 0.015), id="measured"),
        pytest.param(
            replace(MEASURED, num_ongoing=3), 0, (0, 0.2, 0.002, 0.06), id="measured, another batch"
        ),
        pytest.param(
            replace(MEASURED, num_ongoing=4),
            0,
            (100 * 0.06 / 4, 0.2, 0.002, 0.06),
            id="all places are taken: a quarter of an answer",
        ),
        pytest.param(
            replace(MEASURED, num_ongoing=7),
            0,
            (100 * 0.06, 0.2, 0.002, 0.06),
            id="and three wait: a whole answer",
        ),
        pytest.param(
            replace(IDLE, draft_tokens=1, acceptance=(0.6,)),
            0,
            (0, 0.1, 0.001, 0.02 / 1.6),
            id="speculating, acceptance measured",
        ),
        pytest.param(
            replace(MEASURED, draft_tokens=1, acceptance=(0.6,)),
            0,
            (0, 0.2, 0.002, 0.03 / 0.04 * 0.02),
            id="speculating, time a token measured: acceptance is in it",
        ),
    ],
)
def test_outlook(report: ReplicaReport, leased: int, wanted: tuple[float, ...]) -> None:
    """Worked out by hand from the module's formulas."""
    *times, turn_s = outlook(report, leased)
    assert times == pytest.approx(list(wanted))
    answer_tokens = report.answer_tokens or GUESSED_ANSWER_TOKENS
    assert turn_s == pytest.approx(answer_tokens * times[-1] / 4), (
        "a quarter of an answer: it has four places"
    )


def test_prompts_that_were_sent_since() -> None:
    """What this observer has sent since the report has to be read first, too."""
    assert outlook(IDLE, 1, 2000).wait_s == pytest.approx(2.0)


def test_predict() -> None:
    """Wait, then the rest of the prompt, then the answer."""
    seen = Outlook(1.0, 0.1, 0.001, 0.02, turn_s=0.25)
    assert predict(seen, 400, 50) == pytest.approx((1.0, 1.5, 0.02, 2.5))
    assert predict(seen, 400, 50, num_ahead=4) == pytest.approx((2.0, 2.5, 0.02, 3.5)), (
        "a turn for each of them"
    )


def test_who_has_measured_nothing_is_like_its_pool() -> None:
    """A new replica is taken for the mean of the others, not for what the table says."""
    twice = replace(MEASURED, per_token_s=0.04)
    slower = replace(MEASURED, per_token_s=0.08)
    assert [c.step for c in corrections([twice, IDLE, slower], TABLE)] == pytest.approx([2.0, 3.0, 4.0])
    assert [c.read for c in corrections([twice, IDLE], TABLE)] == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(
    ("draft_tokens", "acceptance", "wanted"),
    [(0, (), 1.0), (2, (0.8, 0.5, 0.3), 2.3), (2, (), 1 + 0.7 + 0.49)],
)
def test_acceptance(draft_tokens: int, acceptance: tuple[float, ...], wanted: float) -> None:
    """Measured where it is, for the draft tokens in force; else guessed."""
    report = ReplicaReport("r", acceptance=acceptance, draft_tokens=draft_tokens)
    assert expected_acceptance(report) == pytest.approx(wanted)


def test_what_is_kept_is_what_would_be_worked_out_anew() -> None:
    """A forecast that has seen the pool before says the same as one that has not."""
    kept = Forecast(TABLE)
    pool = PoolSnapshot("p", frozenset(Effort), max_num_seqs=4)
    a, b = ReplicaSnapshot(MEASURED), ReplicaSnapshot(IDLE)
    for replicas in (
        (a, b),
        (a, replace(b, num_leased=2, leased_tokens=9)),
        (replace(a, num_leased=5), b),
        (b,),
        (),
        (replace(a, report=replace(MEASURED, per_token_s=0.5)), b),
    ):
        now = replace(pool, replicas=replicas)
        assert list(kept.outlooks(now)) == list(Forecast(TABLE).outlooks(now))
