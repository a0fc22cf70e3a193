"""What do the engines behind /metrics say?"""

import time
from collections.abc import Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families


def total(http: httpx.Client, sample: str, *, may_lack: bool = False, **labels: str) -> float:
    """Return the sum of all series of `sample` with `labels`, which there must be unless `may_lack`."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    values = [
        s.value
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
        if s.name == sample and labels.items() <= s.labels.items()
    ]
    assert values or may_lack, f"no series {sample} {labels}"
    return sum(values)


def running(http: httpx.Client, pool: str) -> float:
    """Return the requests that the engine of `pool` is working on."""
    return total(http, "vllm:num_requests_running", pool=pool)


def wait_until(what: Callable[[], bool], timeout_s: float) -> float:
    """Return after how many seconds `what` came true; fail after `timeout_s`."""
    began_s = time.monotonic()
    while not what():
        waited_s = time.monotonic() - began_s
        assert waited_s < timeout_s, f"not true within {timeout_s} s"
        time.sleep(0.1)
    return time.monotonic() - began_s
