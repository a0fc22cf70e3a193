"""Which metrics does Venturi export, with which labels and buckets?"""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

QUEUE_BUCKETS_S = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
TTFB_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


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


class Metrics:
    """The metrics of one ingress replica, every series labelled with its id.

    Requests for /metrics reach any ingress replica; the label keeps their counters apart.
    """

    def __init__(self, ingress: str) -> None:
        self._registry = CollectorRegistry()
        self._ingress = ingress
        self.described: list[Described] = []
        """All of them, in the order of the documentation."""
        self.decisions = self._counter("venturi_decisions", "Requests routed", "pool", "effort", "reason")
        self.retries = self._counter(
            "venturi_retries", "Replicas that failed a request before its first byte", "pool", "code"
        )
        self.errors = self._counter(
            "venturi_errors", "Errors that Venturi itself answered, by HTTP status and code", "status", "code"
        )
        self.refused = self._counter(
            "venturi_refused",
            "Requests that keys or limits refused, by tenant ('-' when it is not known) and code",
            "tenant",
            "code",
        )
        self.broken_streams = self._counter(
            "venturi_broken_streams",
            "Answers that ended in an error event after their first byte",
            "pool",
            "code",
        )
        self.images = self._counter(
            "venturi_images",
            "Images of requests, by source (data, https, other) and outcome: accepted, or the rule it broke",
            "source",
            "outcome",
        )
        self.ttfb = self._histogram(
            "venturi_time_to_first_byte_seconds",
            "Seconds from the request's arrival to the answer's head",
            TTFB_BUCKETS_S,
            "pool",
            "effort",
        )
        self.queue_depth = self._gauge(
            "venturi_queue_depth", "Requests that wait at the ingress for a place", "pool", "effort"
        )
        self.queue_time = self._histogram(
            "venturi_queue_seconds",
            "Seconds that requests waited for a place, of those that had to and got one",
            QUEUE_BUCKETS_S,
            "pool",
            "effort",
        )
        self.sheds = self._counter(
            "venturi_sheds",
            "Requests refused for load, by the error's code (reason)",
            "pool",
            "effort",
            "reason",
        )
        self.retries_denied = self._counter(
            "venturi_retries_denied",
            "Requests that failed before their first byte and were not tried again, by reason: "
            "budget (router.admission.retry_share), attempts (it has lost as many replicas as it may)",
            "pool",
            "reason",
        )
        self.breakers_open = self._gauge(
            "venturi_breakers_open", "Replicas that get nothing now, for failing what others answered", "pool"
        )
        self.breaker_openings = self._counter(
            "venturi_breaker_openings", "How often a replica's breaker opened", "pool"
        )
        self.healthy_replicas = self._gauge(
            "venturi_healthy_replicas", "Replicas of a pool that reported lately", "pool"
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        self.described.append(Described(f"{name}_total", "counter", what, labels))
        return Counter(name, what, labels, registry=self._registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        self.described.append(Described(name, "gauge", what, labels))
        return Gauge(name, what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self.described.append(Described(name, "histogram", what, labels, buckets))
        return Histogram(name, what, labels, buckets=buckets, registry=self._registry)

    def text(self, engines: Iterable[tuple[str, str, bytes]]) -> bytes:
        """Return this replica's metrics and those of the engines, in Prometheus text form.

        `engines`: (pool, replica, text) of each engine replica; its series get these as labels.
        """
        families = [_labelled(family, {"ingress": self._ingress}) for family in self._registry.collect()]
        for pool, replica, text in engines:
            labels = {"pool": pool, "replica": replica}
            families += [
                _labelled(family, labels) for family in text_string_to_metric_families(text.decode())
            ]
        return generate_latest(_Merged(families))


class _Merged:
    """Families of many sources as one collector: a family must stand in one piece."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families: dict[str, Metric] = {}
        for family in families:
            if known := self._families.get(family.name):
                known.samples.extend(family.samples)
            else:
                self._families[family.name] = family

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families.values()


def _labelled(family: Metric, labels: dict[str, str]) -> Metric:
    copy = Metric(family.name, family.documentation, family.type, family.unit)
    copy.samples = [s._replace(labels=s.labels | labels) for s in family.samples]
    return copy


def documented() -> tuple[Described, ...]:
    """Return every metric of the name `venturi_`: the ingress replicas', then the engines'."""
    return (*Metrics("").described, *ENGINE)


def table() -> str:
    """Return all that is documented, as rows of Markdown."""
    rows = ["| metric | kind | labels | |", "|---|---|---|---|"]
    for source, metrics in (("ingress", Metrics("").described), ("pool, replica", ENGINE)):
        for metric in metrics:
            labels = ", ".join((source, *metric.labels))
            rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows)
