"""What a planner's answer reads like, and that its YAML is a pool."""

import yaml

from parallel import verdict
from parallel.hardware import A100_80, H100, H200
from parallel.memory import WeightFormat
from parallel.plan import ParallelPlan
from parallel.planner import answer
from parallel.question import Cluster, Question
from parallel.speed import Load, Speculation
from serve_app.config import Pool

QUESTION = Question(Cluster(H200, 2), WeightFormat.FP8, 262_144, "latency", Load(16), Speculation())
FOUND = answer(QUESTION)
REFUSED = answer(Question(Cluster(H100, 2), WeightFormat.BF16, 262_144, "latency", Load(8)))


def test_yaml_is_a_pool_with_the_plan() -> None:
    """What is printed goes into a serve file as it is, and comes out as the planner's own plan."""
    for layout in FOUND.layouts:
        pool = Pool.model_validate(yaml.safe_load(verdict.yaml(QUESTION, layout, "latency"))["latency"])
        assert (pool.plan, pool.replicas, pool.gpu) == (layout.plan, layout.replicas, "H200")
        assert pool.engine["max_model_len"] == 262_144
        assert pool.speculation
        assert pool.speculation.max_draft_tokens == 3


def test_text_has_memory_speed_and_the_others() -> None:
    """Every row of memory, predictions called predictions, and each other layout once."""
    text = verdict.text(FOUND, "latency")
    assert text.startswith("fp8 on 2xH200 with a context of 262144: 2 replicas of tp 1\nwhy: ")
    assert "  routed experts           108.000 GiB" in text
    assert "predicted, not measured" in text
    assert sum(line.startswith("  1 replica of ") for line in text.splitlines()) == 4
    assert "not possible" not in text


def test_refusal_names_the_closest_and_what_would_fit() -> None:
    """The layout that lacks least, each reason once, and the ways out."""
    text = verdict.text(REFUSED, "latency")
    assert "2xH100 with a context of 262144: does not fit\nwhy: closest is tp 2, but a GPU needs" in text
    assert text.count("dp 2, dp 2 + ep: a GPU needs") == 1
    assert "what would fit\n  fp8 weights instead of bf16: tp 2" in text


def test_notes_say_what_the_figures_rest_on() -> None:
    """Weight-only formats and devices that nothing was measured on are said to be so."""
    found = answer(Question(Cluster(A100_80, 4), WeightFormat.FP8, 262_144, "latency", Load(8)))
    text = verdict.text(found, "latency")
    assert "note: A100-80 does not multiply fp8: weight-only, in bf16" in text
    assert "note: the cost model was fitted on H200 in fp8 alone" in text
    several = (
        "note: of layouts over several GPUs, only tp 2, tp 2 + ep and dp 2 + ep have been measured, without"
    )
    assert several in text
    assert "note:" not in verdict.text(FOUND, "latency")


def test_unused_gpus_are_said() -> None:
    """A GPU that no replica fills is not hidden."""
    found = answer(Question(Cluster(H100, 3), WeightFormat.FP8, 262_144, "latency", Load(8)))
    assert verdict.verdict(found).endswith("1 replica of tp 2, 1 GPU unused")


def test_json_values() -> None:
    """The same, for machines."""
    values = verdict.json_values(FOUND)
    assert ParallelPlan(**values["best"]["plan"]) == ParallelPlan()
    assert values["best"]["predicted"]["user_tokens_per_s"] > 0
    assert len(values["others"]) == 4
    refused = verdict.json_values(REFUSED)
    assert refused["best"] is None
    assert len(refused["would_fit"]) == 3
