"""What does the dashboard of the router show? Where requests go, how long they take, how they end."""

from deploy.monitoring.panels import Dashboard, Panel, quantiles, rate

BY_OTHER_REASONS = 'reason!="effort"'
MISSED = 'outcome="missed"'
ALL_TOKENS = 'kind!="reasoning"'

ROUTER = Dashboard(
    "venturi-router",
    "Venturi: router",
    (
        (
            Panel(
                "Efforts that are served",
                (("min by (effort) (venturi_ready)", "{{effort}}"),),
                what="1: every ingress replica knows a healthy one in a pool of this effort.",
                kind="stat",
            ),
            Panel(
                "Healthy replicas",
                (('min by (pool) (venturi_replicas{state="healthy"})', "{{pool}}"),),
                kind="stat",
            ),
            Panel(
                "Not available",
                (
                    (
                        'max by (pool, state) (venturi_replicas{state!="healthy"})',
                        "{{pool}} {{state}}",
                    ),
                ),
                kind="stat",
            ),
        ),
        (
            Panel(
                "Decisions",
                (
                    (
                        rate("venturi_decisions_total", "pool, effort, reason"),
                        "{{effort}} to {{pool}}: {{reason}}",
                    ),
                ),
                "reqps",
                "Where requests went and why; the reasons are those of x-venturi-reason.",
            ),
            Panel(
                "Away from home",
                (
                    (
                        f"{rate('venturi_decisions_total', 'effort, reason', BY_OTHER_REASONS)} / "
                        f"ignoring (reason) group_left () {rate('venturi_decisions_total', 'effort', '')}",
                        "{{effort}}: {{reason}}",
                    ),
                ),
                "percentunit",
                "Share of an effort's requests that something else than the effort decided.",
            ),
            Panel(
                "How answers end",
                ((rate("venturi_answers_total", "effort, outcome"), "{{effort}} {{outcome}}"),),
                "reqps",
            ),
        ),
        (
            Panel(
                "Time to first token", quantiles("venturi_time_to_first_token_seconds", "effort, pool"), "s"
            ),
            Panel("Time a token", quantiles("venturi_time_per_output_token_seconds", "effort, pool"), "s"),
            Panel("Whole answers", quantiles("venturi_request_seconds", "effort, stream"), "s"),
        ),
        (
            Panel(
                "Targets missed",
                (
                    (
                        f"{rate('venturi_targets_total', 'effort, target', MISSED)} / "
                        f"{rate('venturi_targets_total', 'effort, target', '')}",
                        "{{effort}} {{target}}",
                    ),
                ),
                "percentunit",
                "Share of answers over a target of router.targets; alerts follow it.",
            ),
            Panel(
                "Errors",
                (
                    (rate("venturi_errors_total", "status, code", ""), "{{status}} {{code}}"),
                    (rate("venturi_broken_streams_total", "pool, code"), "broken in {{pool}}: {{code}}"),
                    (rate("venturi_retries_total", "pool, code"), "tried again after {{pool}}: {{code}}"),
                ),
                "reqps",
            ),
            Panel(
                "Refused",
                (
                    (rate("venturi_refused_total", "tenant, code", ""), "{{tenant}}: {{code}}"),
                    (
                        rate("venturi_images_total", "source, outcome", 'outcome!="accepted"'),
                        "image, {{source}}: {{outcome}}",
                    ),
                ),
                "reqps",
            ),
        ),
        (
            Panel(
                "Tokens",
                ((rate("venturi_tokens_total", "effort, kind"), "{{effort}} {{kind}}"),),
                "short",
                "A second, of complete answers. Reasoning is a part of output.",
            ),
            Panel(
                "Tenants' requests",
                ((f"topk(10, {rate('venturi_tenant_requests_total', 'tenant', '')})", "{{tenant}}"),),
                "reqps",
            ),
            Panel(
                "Tenants' tokens",
                (
                    (
                        f"topk(10, {rate('venturi_tenant_tokens_total', 'tenant', ALL_TOKENS)})",
                        "{{tenant}}",
                    ),
                ),
                "short",
                "A second, input and output.",
            ),
        ),
    ),
)
