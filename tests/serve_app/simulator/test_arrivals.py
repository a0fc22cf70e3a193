"""Do requests come as often, and are they as long, as the scenario says?"""

import json
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from serve_app.errors import ConfigError
from serve_app.simulator.arrivals import arrivals
from serve_app.types import Effort
from tests.serve_app.simulator.small import scenario


def test_poisson_rate_mix_and_lengths() -> None:
    """All within what chance allows at 20,000 requests."""
    came = list(arrivals(scenario(duration_s=1000, arrivals={"kind": "poisson", "rate_per_s": 20})))
    assert len(came) == pytest.approx(20_000, rel=0.03)
    high = [one for one in came if one.effort is Effort.HIGH]
    assert len(high) == pytest.approx(10_000, rel=0.05)
    assert median(one.answer_tokens for one in high) == pytest.approx(128, rel=0.05)
    assert {one.prompt_tokens for one in high} == {512}
    gaps = [after.at_s - before.at_s for before, after in pairwise(came)]
    assert min(gaps) >= 0
    assert median(gaps) == pytest.approx(0.693 / 20, rel=0.05)


def test_square_wave() -> None:
    """The low half of each period has its rate, the high half the other."""
    source = {"kind": "square", "low_per_s": 2, "high_per_s": 20, "period_s": 100}
    came = list(arrivals(scenario(duration_s=1000, arrivals=source)))
    low = sum(one.at_s % 100 < 50 for one in came)
    assert low == pytest.approx(1000, rel=0.15)
    assert len(came) - low == pytest.approx(10_000, rel=0.05)


def test_bursts() -> None:
    """As many at once as it says, and in order."""
    source = {"kind": "bursts", "rate_per_s": 1, "every_s": 10, "size": 7}
    times = [one.at_s for one in arrivals(scenario(duration_s=35, arrivals=source))]
    assert times == sorted(times)
    assert [times.count(at_s) for at_s in (10, 20, 30)] == [7, 7, 7]


def test_the_seed_decides() -> None:
    """The same seed, the same requests; another, others."""
    assert list(arrivals(scenario(seed=1))) == list(arrivals(scenario(seed=1)))
    assert list(arrivals(scenario(seed=1))) != list(arrivals(scenario(seed=2)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"effort": "low"}, "t.jsonl:2: ValueError"),
        ({"at_s": 0.5}, "at_s must not fall below 1"),
        ({"answer_tokens": 0}, "tokens below 1"),
        ({"at_s": float("nan")}, "at_s must not fall below 1"),
        ({"prompt_tokens": float("inf")}, "t.jsonl:2: OverflowError"),
    ],
)
def test_traces(tmp_path: Path, change: dict[str, object], problem: str | None) -> None:
    """Are read line by line, and refused by line."""
    entry = {"at_s": 1.0, "effort": "none", "prompt_tokens": 3, "answer_tokens": 4}
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (entry, entry | change)))
    source = scenario(arrivals={"kind": "trace", "file": str(path)})
    if problem is None:
        assert [one.answer_tokens for one in arrivals(source)] == [4, 4]
        return
    with pytest.raises(ConfigError, match=problem):
        list(arrivals(source))


@pytest.mark.parametrize("at_s", [20.0, 1e9, float("inf")])
def test_a_trace_ends_with_the_scenario(tmp_path: Path, at_s: float) -> None:
    """What comes later is no part of the time that goodput is worked out over."""
    entry = {"at_s": 1.0, "effort": "none", "prompt_tokens": 3, "answer_tokens": 4}
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (entry, entry | {"at_s": at_s})))
    source = scenario(arrivals={"kind": "trace", "file": str(path)}, duration_s=20)
    assert [one.at_s for one in arrivals(source)] == [1.0]


def test_a_trace_that_is_no_text(tmp_path: Path) -> None:
    """Is refused by name."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"t\.jsonl: not UTF-8"):
        list(arrivals(scenario(arrivals={"kind": "trace", "file": str(path)})))
