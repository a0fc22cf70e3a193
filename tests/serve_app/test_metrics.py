"""Metrics of one ingress replica and of all engines, as one page that parses."""

from collections import Counter as Tally

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from serve_app.metrics import ENGINE, MAX_TENANTS, Metrics, documented

Page = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: bytes) -> Page:
    """Return every sample of a page; a sample that stands there twice is an error."""
    samples = [s for family in text_string_to_metric_families(text.decode()) for s in family.samples]
    page = {(s.name, frozenset(s.labels.items())): s.value for s in samples}
    assert len(page) == len(samples)
    return page


def engine(num_requests: int) -> bytes:
    """Return the text of an engine that has finished that many requests."""
    registry = CollectorRegistry()
    finished = Counter("vllm:request_success", "Finished", ["reason"], registry=registry)
    finished.labels("stop").inc(num_requests)
    latency = Histogram("vllm:e2e_latency_seconds", "Latency", buckets=(1, 10), registry=registry)
    for _ in range(num_requests):
        latency.observe(2)
    return generate_latest(registry)


ENGINES = [("throughput", "t1", engine(2)), ("throughput", "t2", engine(3)), ("latency", "l1", engine(5))]


def labels(**values: str) -> frozenset[tuple[str, str]]:
    """Return labels as `parsed` has them."""
    return frozenset(values.items())


def test_our_own_series() -> None:
    """Every series of ours has the ingress replica as a label, beside its own."""
    metrics = Metrics("ingress-1")
    metrics.decisions.labels("throughput", "none", "effort").inc()
    metrics.retries.labels("throughput", "pool_busy").inc(2)
    metrics.errors.labels(503, "no_healthy_replica").inc(3)
    metrics.refused.labels("search", "rate_limit_exceeded").inc(6)
    metrics.broken_streams.labels("latency", "replica_lost").inc(4)
    metrics.images.labels("https", "address").inc(6)
    metrics.ttft.labels("throughput", "none").observe(0.2)
    metrics.replicas.labels("throughput", "healthy").set(5)
    page, own = parsed(metrics.text([])), {"ingress": "ingress-1"}
    assert {
        key: value for key, value in page.items() if "_created" not in key[0] and "_bucket" not in key[0]
    } == {
        ("venturi_decisions_total", labels(pool="throughput", effort="none", reason="effort", **own)): 1,
        ("venturi_retries_total", labels(pool="throughput", code="pool_busy", **own)): 2,
        ("venturi_errors_total", labels(status="503", code="no_healthy_replica", **own)): 3,
        ("venturi_refused_total", labels(tenant="search", code="rate_limit_exceeded", **own)): 6,
        ("venturi_broken_streams_total", labels(pool="latency", code="replica_lost", **own)): 4,
        ("venturi_images_total", labels(source="https", outcome="address", **own)): 6,
        ("venturi_time_to_first_token_seconds_count", labels(pool="throughput", effort="none", **own)): 1,
        ("venturi_time_to_first_token_seconds_sum", labels(pool="throughput", effort="none", **own)): 0.2,
        ("venturi_replicas", labels(pool="throughput", state="healthy", **own)): 5,
    }


def test_engines_keep_apart() -> None:
    """The same series of several engines stay apart by pool and replica, and keep their own labels."""
    page = parsed(Metrics("ingress-1").text(ENGINES))
    for pool, replica, count in (("throughput", "t1", 2), ("throughput", "t2", 3), ("latency", "l1", 5)):
        where = {"pool": pool, "replica": replica}
        assert page["vllm:request_success_total", labels(reason="stop", **where)] == count
        assert page["vllm:e2e_latency_seconds_bucket", labels(le="10.0", **where)] == count
        assert page["vllm:e2e_latency_seconds_sum", labels(**where)] == 2 * count


def test_ingress_replicas_keep_apart() -> None:
    """Whichever ingress replica is asked, the page has the counters of each under its own name."""
    first, second = Metrics("ingress-1"), Metrics("ingress-2")
    for metrics, number in ((first, 2), (second, 3)):
        metrics.decisions.labels("throughput", "none", "effort").inc(number)
    pages = [parsed(one.text(ENGINES, [other.own()])) for one, other in ((first, second), (second, first))]
    decided = {"pool": "throughput", "effort": "none", "reason": "effort"}
    assert pages[0]["venturi_decisions_total", labels(ingress="ingress-1", **decided)] == 2
    assert pages[0]["venturi_decisions_total", labels(ingress="ingress-2", **decided)] == 3
    assert pages[0] == pages[1]


def test_tenants_are_bounded() -> None:
    """The first tenants have series of their own, and keep them; later ones share one."""
    metrics = Metrics("ingress-1")
    names = [f"tenant-{number}" for number in range(MAX_TENANTS + 2)]
    shown = [metrics.tenant(name) for name in names]
    assert shown == [*names[:MAX_TENANTS], "other", "other"]
    assert metrics.tenant(names[0]) == names[0]


def test_what_alerts_watch_is_there_from_the_start() -> None:
    """A counter that begins at 1 has not risen, for Prometheus."""
    metrics = Metrics("ingress-1")
    metrics.start_at_zero(["latency"])
    page = parsed(metrics.own())
    own = {"ingress": "ingress-1"}
    for name, by in (
        ("venturi_errors_total", {"status": "503", "code": "no_healthy_replica"}),
        ("venturi_errors_total", {"status": "500", "code": "internal_error"}),
        ("venturi_retries_total", {"pool": "latency", "code": "replica_lost"}),
        ("venturi_broken_streams_total", {"pool": "latency", "code": "answer_timeout"}),
        ("venturi_queue_depth", {"pool": "latency", "effort": "none"}),
    ):
        assert page[name, labels(**by, **own)] == 0


def test_families_stand_in_one_piece() -> None:
    """Prometheus refuses a page on which a family is announced twice."""
    text = Metrics("ingress-1").text(ENGINES).decode()
    announced = Tally(line for line in text.splitlines() if line.startswith("# TYPE"))
    assert set(announced.values()) == {1}
    assert "# TYPE vllm:request_success_total counter" in announced

    families = [f.name for f in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))


def test_reading_changes_nothing() -> None:
    """A page can be read as often as one likes."""
    metrics = Metrics("ingress-1")
    metrics.leases.labels("throughput").set(1)
    assert parsed(metrics.text(ENGINES)) == parsed(metrics.text(ENGINES))


def test_a_text_that_does_not_parse() -> None:
    """A broken page of an engine is an error, not a page with holes."""
    with pytest.raises(ValueError, match="could not convert"):
        Metrics("ingress-1").text([("throughput", "t1", b"vllm:broken{ 1\n")])


def test_the_documented_list() -> None:
    """It has each name once, and says of ours what the page says."""
    names = [metric.name for metric in documented()]
    assert len(names) == len(set(names))
    ours = Metrics("ingress-1")
    kinds = {f.name: f.type for f in text_string_to_metric_families(ours.text([]).decode())}
    assert kinds == {metric.name.removesuffix("_total"): metric.kind for metric in ours.described}


@pytest.mark.engine
def test_the_engines_metrics_are_the_plugins() -> None:
    """What is documented of the engines is what the plugin exports, word for word."""
    from parallel.vllm_plugin import draft_metrics, expert_metrics

    found = {}
    for module in (draft_metrics, expert_metrics):
        for value in vars(module).values():
            if isinstance(value, MetricWrapperBase):
                [family] = value.describe()
                found[family.name] = (family.type, family.documentation, value._labelnames)
    listed = {m.name.removesuffix("_total"): (m.kind, m.help, m.labels) for m in ENGINE}
    assert found == listed
