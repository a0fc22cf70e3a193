"""What does the dashboard of the pools show? Batches, caches, drafts and restarts of the engines."""

from deploy.monitoring.panels import POOL, Dashboard, Panel, quantiles, rate

STARTS = "ray_serve_deployment_replica_starts_total"


def per_draft(metric: str) -> str:
    """Return the query for what vLLM counts beside its drafts, by draft."""
    return f"{rate(metric, 'pool, replica')} / {rate('vllm:spec_decode_num_drafts_total', 'pool, replica')}"


POOLS = Dashboard(
    "venturi-pools",
    "Venturi: pools",
    (
        (
            Panel(
                "Waiting for a place",
                (("sum by (pool, effort) (venturi_queue_depth)", "{{pool}}: {{effort}}"),),
                what="Requests that the ingress replicas hold back.",
            ),
            Panel("Time in the queue", quantiles("venturi_queue_seconds", "pool, effort"), "s"),
            Panel(
                "Turned away for load",
                ((rate("venturi_sheds_total", "pool, effort, reason"), "{{pool}}, {{effort}}: {{reason}}"),),
                "reqps",
            ),
            Panel(
                "Breakers",
                (
                    ("max by (pool) (venturi_breakers_open)", "{{pool}}: open now"),
                    (
                        "sum by (pool) (increase(venturi_breaker_openings_total[1h]))",
                        "{{pool}}: opened in an hour",
                    ),
                    (
                        "sum by (pool, reason) (increase(venturi_retries_denied_total[1h]))",
                        "{{pool}}: not tried again in an hour, {{reason}}",
                    ),
                ),
            ),
        ),
        (
            Panel(
                "In flight",
                (("sum by (pool) (venturi_leases)", "{{pool}}"),),
                what="Requests that the ingress replicas have with the engines.",
            ),
            Panel("Running", ((f"vllm:num_requests_running{POOL}", "{{pool}} {{replica}}"),)),
            Panel("Waiting in the engine", ((f"vllm:num_requests_waiting{POOL}", "{{pool}} {{replica}}"),)),
        ),
        (
            Panel(
                "Tokens generated",
                ((rate("vllm:generation_tokens_total", "pool, replica"), "{{pool}} {{replica}}"),),
                what="A second, by the engines' own count: abandoned answers too.",
            ),
            Panel(
                "Prompt tokens",
                ((rate("vllm:prompt_tokens_total", "pool, replica"), "{{pool}} {{replica}}"),),
                what="A second.",
            ),
            Panel(
                "KV cache in use",
                ((f"vllm:kv_cache_usage_perc{POOL}", "{{pool}} {{replica}}"),),
                "percentunit",
            ),
        ),
        (
            Panel(
                "Prefix cache",
                (
                    (
                        f"{rate('vllm:prefix_cache_hits_total', 'pool, replica')} / "
                        f"{rate('vllm:prefix_cache_queries_total', 'pool, replica')}",
                        "{{pool}} {{replica}}",
                    ),
                ),
                "percentunit",
                "Share of prompt tokens that need not be read.",
            ),
            Panel("Queue in the engine", quantiles("vllm:request_queue_time_seconds", "pool"), "s"),
            Panel(
                "Preemptions",
                ((rate("vllm:num_preemptions_total", "pool, replica"), "{{pool}} {{replica}}"),),
            ),
        ),
        (
            Panel(
                "Acceptance length",
                ((f"1 + {per_draft('vllm:spec_decode_num_accepted_tokens_total')}", "{{pool}} {{replica}}"),),
                what="Mean tokens that a step with drafts yields a sequence.",
            ),
            Panel(
                "Draft tokens",
                (
                    (per_draft("vllm:spec_decode_num_draft_tokens_total"), "{{pool}} {{replica}}, mean"),
                    (f"venturi_draft_tokens{POOL}", "{{pool}} {{replica}}, now"),
                ),
                what="A sequence and step with drafts; 'now' also where there are none.",
            ),
            Panel(
                "Acceptance by position",
                ((f"venturi_draft_acceptance{POOL}", "{{pool}} {{replica}}: {{position}}"),),
                "percentunit",
            ),
        ),
        (
            Panel(
                "Steps by draft tokens",
                ((rate("venturi_verify_steps_total", "pool, draft_tokens"), "{{pool}}: {{draft_tokens}}"),),
                what="A second.",
            ),
            Panel(
                "What drafts gain",
                ((f"venturi_draft_gain{POOL}", "{{pool}} {{replica}}, {{step_times}}"),),
                what="Tokens a second over those at no draft tokens; below 1 they cost more than they bring.",
            ),
            Panel(
                "Replica starts",
                (
                    (
                        f"count by (deployment) (last_over_time({STARTS}[1h]) unless {STARTS} offset 1h)",
                        "{{deployment}}",
                    ),
                ),
                what="Replicas that started within the hour, by Ray's agents.",
            ),
        ),
    ),
)
