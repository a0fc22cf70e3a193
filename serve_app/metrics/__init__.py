"""Which metrics does an ingress replica export, with which labels and buckets?"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from serve_app.errors import (
    AnswerTimeout,
    ApiError,
    DeadlineUnreachable,
    Displaced,
    FloorKept,
    NoReplica,
    PoolBusy,
    QueueFull,
    ReplicaLost,
)
from serve_app.metrics.described import ENGINE, Described
from serve_app.metrics.page import Merged, labelled
from serve_app.types import Effort

QUEUE_BUCKETS_S = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
TTFT_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
PER_TOKEN_BUCKETS_S = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5)
REQUEST_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)

MAX_TENANTS = 100
"""How many tenants get series of their own in one ingress replica."""
OTHER_TENANTS = "other"


class Metrics:
    """The metrics of one ingress replica, every series labelled with its id.

    Whichever replica is asked for /metrics asks the others; the label keeps their counters apart.
    """

    def __init__(self, ingress: str) -> None:
        self._registry = CollectorRegistry()
        self.ingress = ingress
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
        self.answers = self._counter(
            "venturi_answers",
            "Answers that an engine began, by how they ended: complete, refused (4xx), failed (5xx), broken, "
            "abandoned by the client",
            "pool",
            "effort",
            "outcome",
        )
        self.ttft = self._histogram(
            "venturi_time_to_first_token_seconds",
            "Seconds from a request's arrival to the first event of its streamed answer",
            TTFT_BUCKETS_S,
            "pool",
            "effort",
        )
        self.per_token = self._histogram(
            "venturi_time_per_output_token_seconds",
            "Mean seconds between the tokens of a complete streamed answer",
            PER_TOKEN_BUCKETS_S,
            "pool",
            "effort",
        )
        self.request = self._histogram(
            "venturi_request_seconds",
            "Seconds from a request's arrival to the end of its complete answer",
            REQUEST_BUCKETS_S,
            "pool",
            "effort",
            "stream",
        )
        self.targets = self._counter(
            "venturi_targets",
            "Answers held against a target of their effort (router.targets), by outcome: met, missed",
            "pool",
            "effort",
            "target",
            "outcome",
        )
        self.tokens = self._counter(
            "venturi_tokens",
            "Tokens of complete answers, as these told: input, output, and reasoning, a part of output",
            "pool",
            "effort",
            "kind",
        )
        self.tenant_requests = self._counter(
            "venturi_tenant_requests",
            f"Requests that were let in, by tenant; from the {MAX_TENANTS}th on, all are '{OTHER_TENANTS}'",
            "tenant",
            "effort",
        )
        self.tenant_tokens = self._counter(
            "venturi_tenant_tokens", "Tokens of complete answers, by tenant", "tenant", "kind"
        )
        self.leases = self._gauge("venturi_leases", "Requests in flight at the engines of a pool", "pool")
        self.replicas = self._gauge(
            "venturi_replicas",
            "Replicas as the ingress knows them: healthy, silent, broken, draining, suspect (has failed)",
            "pool",
            "state",
        )
        self.ready = self._gauge(
            "venturi_ready", "Whether /ready counts an effort as ready, 1 or 0", "effort"
        )
        self._tenants: set[str] = set()

    def tenant(self, name: str) -> str:
        """Return what stands for a tenant in labels: its name, as long as there are few of them."""
        if name not in self._tenants:
            if len(self._tenants) >= MAX_TENANTS:
                return OTHER_TENANTS
            self._tenants.add(name)
        return name

    def start_at_zero(self, pools: Iterable[str]) -> None:
        """Have the series there from the start that alerts watch.

        A counter that appears as 1 never rose, and what is not there cannot be added to.
        """
        for pool in pools:
            for failure in (ReplicaLost, PoolBusy):
                self.retries.labels(pool, failure.code)
            for breach in (ReplicaLost, AnswerTimeout):
                self.broken_streams.labels(pool, breach.code)
            for effort in Effort:
                self.queue_depth.labels(pool, effort)
                self.queue_time.labels(pool, effort)
                for shed in (QueueFull, Displaced, FloorKept, DeadlineUnreachable):
                    self.sheds.labels(pool, effort, shed.code)
            for reason in ("attempts", "budget"):
                self.retries_denied.labels(pool, reason)
            self.breakers_open.labels(pool)
            self.breaker_openings.labels(pool)
        for error in (ApiError, NoReplica, PoolBusy, ReplicaLost, AnswerTimeout):
            self.errors.labels(error.status, error.code)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        self.described.append(Described(f"{name}_total", "counter", what, labels))
        return Counter(name, what, labels, registry=self._registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        self.described.append(Described(name, "gauge", what, labels))
        return Gauge(name, what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self.described.append(Described(name, "histogram", what, labels, buckets))
        return Histogram(name, what, labels, buckets=buckets, registry=self._registry)

    def own(self) -> bytes:
        """Return the metrics of this replica alone, in Prometheus text form."""
        return generate_latest(Merged(self._families()))

    def text(self, engines: Iterable[tuple[str, str, bytes]], siblings: Iterable[bytes] = ()) -> bytes:
        """Return the metrics of all ingress replicas and all engines, in Prometheus text form.

        `engines`: (pool, replica, text) of each engine replica; its series get these as labels. `siblings`:
        what `own` returned in the other ingress replicas.
        """
        families = self._families()
        for text in siblings:
            families += text_string_to_metric_families(text.decode())
        for pool, replica, text in engines:
            labels = {"pool": pool, "replica": replica}
            families += [labelled(family, labels) for family in text_string_to_metric_families(text.decode())]
        return generate_latest(Merged(families))

    def _families(self) -> list[Metric]:
        return [labelled(family, {"ingress": self.ingress}) for family in self._registry.collect()]


def documented() -> tuple[Described, ...]:
    """Return every metric of the name `venturi_`: the ingress replicas', then the engines'."""
    return (*Metrics("").described, *ENGINE)


def table() -> str:
    """Return all that is documented, as rows of Markdown."""
    rows = ["| metric | kind | labels | |", "|---|---|---|---|"]
    for source, metrics in (("ingress", Metrics("").described), ("pool, replica", ENGINE)):
        for metric in metrics:
            labels = ", ".join((source, *metric.labels))
            bounds = f" (up to {', '.join(map(str, metric.buckets))})" if metric.buckets else ""
            rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help}{bounds} |")
    return "\n".join(rows)


__all__ = ["ENGINE", "MAX_TENANTS", "Described", "Metrics", "documented", "table"]
