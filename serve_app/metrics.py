"""Which metrics does Venturi export, with which labels and buckets?"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

QUEUE_BUCKETS_S = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
TTFB_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one ingress replica, every series labelled with its id.

    Requests for /metrics reach any ingress replica; the label keeps their counters apart.
    """

    def __init__(self, ingress: str) -> None:
        self._registry = CollectorRegistry()
        self._ingress = ingress
        self.decisions = Counter(
            "venturi_decisions",
            "Requests routed, by pool, effort and reason",
            ["pool", "effort", "reason"],
            registry=self._registry,
        )
        self.retries = Counter(
            "venturi_retries",
            "Replicas that failed a request before its first byte, by pool and error code",
            ["pool", "code"],
            registry=self._registry,
        )
        self.errors = Counter(
            "venturi_errors",
            "Errors that Venturi itself answered, by HTTP status and code",
            ["status", "code"],
            registry=self._registry,
        )
        self.refused = Counter(
            "venturi_refused",
            "Requests that keys or limits refused, by tenant ('-' when it is not known) and code",
            ["tenant", "code"],
            registry=self._registry,
        )
        self.broken_streams = Counter(
            "venturi_broken_streams",
            "Answers that ended in an error event after their first byte, by pool and code",
            ["pool", "code"],
            registry=self._registry,
        )
        self.images = Counter(
            "venturi_images",
            "Images of requests, by source (data, https, other) and outcome: accepted, or the rule it broke",
            ["source", "outcome"],
            registry=self._registry,
        )
        self.ttfb = Histogram(
            "venturi_time_to_first_byte_seconds",
            "Seconds from the request's arrival to the answer's head, by pool and effort",
            ["pool", "effort"],
            buckets=TTFB_BUCKETS_S,
            registry=self._registry,
        )
        self.queue_depth = Gauge(
            "venturi_queue_depth",
            "Requests that wait at the ingress for a place, by pool and effort",
            ["pool", "effort"],
            registry=self._registry,
        )
        self.queue_time = Histogram(
            "venturi_queue_seconds",
            "Seconds that requests waited for a place, of those that had to and got one, by pool and effort",
            ["pool", "effort"],
            buckets=QUEUE_BUCKETS_S,
            registry=self._registry,
        )
        self.sheds = Counter(
            "venturi_sheds",
            "Requests refused for load, by pool, effort and reason (the error's code)",
            ["pool", "effort", "reason"],
            registry=self._registry,
        )
        self.retries_denied = Counter(
            "venturi_retries_denied",
            "Requests that failed before their first byte and were not tried again, by pool and reason: "
            "budget (router.admission.retry_share), attempts (it has lost as many replicas as it may)",
            ["pool", "reason"],
            registry=self._registry,
        )
        self.breakers_open = Gauge(
            "venturi_breakers_open",
            "Replicas that get nothing now, for failing what others answered, by pool",
            ["pool"],
            registry=self._registry,
        )
        self.breaker_openings = Counter(
            "venturi_breaker_openings",
            "How often a replica's breaker opened, by pool",
            ["pool"],
            registry=self._registry,
        )
        self.healthy_replicas = Gauge(
            "venturi_healthy_replicas",
            "Replicas of a pool that reported lately",
            ["pool"],
            registry=self._registry,
        )

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
