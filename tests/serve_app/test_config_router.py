"""The router's settings: what they become, and what is refused."""

from typing import Any

import pytest

from serve_app import config
from serve_app.rules import Admission, Preference, Rules, Targets, Weights
from serve_app.types import Effort, Shape
from tests.serve_app.samples import args, problems


def test_all_of_it() -> None:
    """Every setting reaches the policy."""
    router = {
        "spill_over": False,
        "max_age_s": 3,
        "prefer": [{"pools": ["latency"], "efforts": ["none"], "shapes": ["tools"], "min_prompt_tokens": 9}],
        "avoid_speculation": ["schema"],
        "targets": {"none": {"total_s": 60}, "high": {"ttft_s": 1, "per_token_s": 0.02}},
        "answer_tokens": {"none": 100},
        "weights": {"ttft": 1, "session": 0},
        "hysteresis": 0.3,
        "floors": {"high": 0.25, "none": 0.1},
        "admission": {"places": 1.5, "first": None, "aging_s": 3, "retry_share": 0.1},
    }
    assert config.parse(args({"router": router})).router.rules() == Rules(
        spill_over=False,
        max_age_s=3.0,
        prefer=(Preference(("latency",), frozenset({Effort.NONE}), frozenset({Shape.TOOLS}), 9),),
        avoid_speculation=frozenset({Shape.SCHEMA}),
        targets={Effort.NONE: Targets(total_s=60), Effort.HIGH: Targets(ttft_s=1, per_token_s=0.02)},
        answer_tokens={Effort.NONE: 100, Effort.HIGH: 1024},
        weights=Weights(ttft=1, session=0),
        hysteresis=0.3,
        floors={Effort.NONE: 0.1, Effort.HIGH: 0.25},
        admission=Admission(1.5, None, 3.0, 0.1),
    )


SPECULATING = {f"pools.{name}.speculation": {"draft": "eagle"} for name in ("throughput", "latency")}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"router.prefer": [{"pools": ["fast"]}]},
            "router.prefer.0.pools has 'fast'; there are 'throughput', 'latency'",
        ),
        ({"router.prefer": [{"pools": []}]}, "router.prefer.0.pools: must name at least one, not []"),
        (
            {"router.avoid_speculation": ["schema"], **SPECULATING},
            "router.avoid_speculation=['schema'] leaves no pool: all have speculation (throughput, latency)",
        ),
        (
            {"router.weights": dict.fromkeys(Weights.__dataclass_fields__, 0)},
            "router.weights: at least one weight must be more than 0",
        ),
        (
            {"router.admission": {"places": 0}},
            "router.admission.places: Input should be greater than 0, not 0",
        ),
        (
            {"router.admission": {"retry_share": 1.5}},
            "router.admission.retry_share: Input should be less than or equal to 1, not 1.5",
        ),
        (
            {"router.weights.latency": 1},
            "router.weights.latency: unknown key; known: kv_cache, per_token, prefix, queue, session, ttft",
        ),
        (
            {"router.floors.high": 1},
            "router.floors.high: Input should be less than 1, not 1",
        ),
        (
            {"router.targets.high.ttft_s": 0},
            "router.targets.high.ttft_s: Input should be greater than 0, not 0",
        ),
        (
            {"router.prefer": [{"pools": ["latency"], "shapes": ["video"]}]},
            "router.prefer.0.shapes.0: Input should be 'schema', 'tools' or 'images', not 'video'",
        ),
    ],
)
def test_refused(changes: dict[str, Any], problem: str) -> None:
    """Each wrong setting is named, with its value."""
    assert problems(changes) == [problem]


def test_a_target_that_is_emptied_does_not_hold() -> None:
    """`high: {}` takes the default target away; what is not named keeps it."""
    rules = config.parse(args({"router.targets.high": {}})).router.rules()
    assert rules.targets == {Effort.NONE: Targets(ttft_s=5.0), Effort.HIGH: Targets()}
