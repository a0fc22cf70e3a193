"""Are requests counted as met, late or lost as the targets say?"""

import json
import math

import pytest

from serve_app.rules import Targets
from serve_app.simulator.arrivals import Arrival
from serve_app.simulator.cluster import Result
from serve_app.simulator.outcome import as_json, as_text, met, summarise
from serve_app.simulator.record import Outcome, Record
from serve_app.types import Effort
from tests.serve_app.simulator.small import scenario


def record(at_s: float, first_s: float, end_s: float, outcome: Outcome = Outcome.ANSWERED) -> Record:
    """A request at high for 11 tokens."""
    return Record(Arrival(at_s, Effort.HIGH, 100, 11), "latency", "effort", 0, first_s, end_s, outcome)


@pytest.mark.parametrize(
    ("targets", "is_met"),
    [
        (Targets(), True),
        (Targets(ttft_s=1.0), True),
        (Targets(ttft_s=0.9), False),
        (Targets(per_token_s=0.2), True),
        (Targets(per_token_s=0.19), False),
        (Targets(total_s=3.0), True),
        (Targets(ttft_s=1.0, per_token_s=0.2, total_s=2.9), False),
    ],
)
def test_targets(targets: Targets, is_met: bool) -> None:
    """First token after 1 s, then ten in 2 s."""
    assert met(record(4.0, 5.0, 7.0), targets) is is_met


def test_what_broke_meets_nothing() -> None:
    """However early."""
    assert not met(record(4.0, 4.1, 4.2, Outcome.BROKEN), Targets())


def test_figures_of_a_run() -> None:
    """Requests of the warm-up count for tokens and GPUs, not for goodput."""
    records = (
        record(1.0, 1.1, 2.0),
        record(11.0, 11.5, 12.5),
        record(12.0, 15.0, 16.0),
        record(13.0, math.nan, 13.0, Outcome.REFUSED),
    )
    result = Result(scenario(warm_up_s=10), records, 20.0, {"latency": 20.0}, {"latency": 0.5})
    summary = summarise(result)
    high = summary.efforts["high"]
    assert (high.num_requests, high.num_met, high.outcomes) == (3, 1, {"answered": 2, "refused": 1})
    assert summary.goodput_per_s == pytest.approx(0.1)
    assert summary.tokens_per_gpu_s == pytest.approx(33 / 20)
    assert high.times.ttft_s[0] == pytest.approx(1.75)
    assert summary.efforts["none"].met_share == 1.0
    assert json.loads(as_json(summary))["simulated"] is True
    text = as_text({"one": summary, "two": summary})
    assert text.startswith("simulated, not measured")
    assert len({len(line) for line in text.splitlines()}) == 1
