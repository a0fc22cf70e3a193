"""What does the dashboard of the experts show? How evenly they are loaded, and how often they move."""

from deploy.monitoring.panels import POOL, Dashboard, Panel, rate

EXPERTS = Dashboard(
    "venturi-experts",
    "Venturi: experts",
    (
        (
            Panel(
                "Balancedness",
                ((f"venturi_expert_balancedness{POOL}", "{{pool}} {{replica}}, {{layers}}"),),
                "percentunit",
                "Mean over max of the ranks' loads: all ranks wait for the fullest one.",
            ),
            Panel(
                "The hottest expert",
                ((f"venturi_hottest_expert_share{POOL}", "{{pool}} {{replica}}, {{layers}}"),),
                "percentunit",
                "Its share of a layer's choices; with 128 experts and 4 choices, even would be 0.8 %.",
            ),
        ),
        (
            Panel(
                "Ranks",
                ((f"venturi_expert_rank_load{POOL}", "{{pool}} {{replica}}: rank {{rank}}"),),
                "percentunit",
                "Share of the experts' work.",
            ),
            Panel(
                "Rearrangements",
                (
                    (
                        "sum by (pool, replica) (increase(venturi_expert_rearrangements_total"
                        '{pool=~"$pool"}[1h]))',
                        "{{pool}} {{replica}}",
                    ),
                ),
                what="An hour.",
            ),
            Panel(
                "Experts moved",
                ((rate("venturi_experts_moved_total", "pool, replica"), "{{pool}} {{replica}}"),),
                what="A second, over all layers.",
            ),
        ),
    ),
)
