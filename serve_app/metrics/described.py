"""What is said of a metric, and which ones do the engines have?"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Described:
    """One metric as its readers know it: of a counter, the name has its `_total`."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


ENGINE = (
    Described(
        "venturi_verify_steps_total",
        "counter",
        "Engine steps that decoded, by draft tokens a sequence",
        ("engine", "draft_tokens"),
    ),
    Described("venturi_draft_tokens", "gauge", "Draft tokens a sequence in the latest step", ("engine",)),
    Described(
        "venturi_draft_acceptance",
        "gauge",
        "Share of drafts accepted up to this position, lately",
        ("engine", "position"),
    ),
    Described(
        "venturi_draft_gain",
        "gauge",
        "Tokens a second over those at 0 draft tokens, by the cost model's step times and by measured ones",
        ("engine", "step_times"),
    ),
    Described(
        "venturi_expert_balancedness",
        "gauge",
        "Mean over max of the ranks' loads lately, of all layers (mean) and of the least balanced (worst)",
        ("layers",),
    ),
    Described(
        "venturi_hottest_expert_share",
        "gauge",
        "Share of a layer's choices that its hottest expert had lately, of all layers (mean) or most (worst)",
        ("layers",),
    ),
    Described(
        "venturi_expert_rank_load",
        "gauge",
        "Share of the experts' work of all layers that a rank had lately",
        ("rank",),
    ),
    Described(
        "venturi_expert_rearrangements_total",
        "counter",
        "Readings that found experts in other places than the one before",
    ),
    Described(
        "venturi_experts_moved_total",
        "counter",
        "Weights of experts that ranks got from others, over all layers",
    ),
)
"""What `parallel.vllm_plugin` counts in the engines, where the configuration has it count."""
