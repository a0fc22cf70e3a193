"""What do clients see when a replica or its engine dies?"""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from serve_app.local import LocalSystem
from tests.e2e.metrics import total, wait_until
from tests.e2e.replicas import replica_of

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

BODY = {
    "model": "mistral-small-4",
    "messages": [{"role": "user", "content": "Go on for ever."}],
    "reasoning_effort": "high",
    "temperature": 0,
}


def healthy(http: httpx.Client, pool: str) -> int:
    """Return how many healthy replicas the ingress sees."""
    count: int = http.get("/ready").json()["healthy_replicas"].get(pool, 0)
    return count


def num_retries(http: httpx.Client) -> float:
    """Return how many requests to the throughput pool were tried elsewhere."""
    return total(http, "venturi_retries_total", may_lack=True, pool="throughput", code="replica_lost")


def test_all_replicas_too_busy_to_report(system: LocalSystem, http: httpx.Client) -> None:
    """Requests wait until one is heard of again; the ingress stays ready, since nobody is refused."""
    replicas = [replica_of(system, pool) for pool in ("throughput", "latency")]
    efforts = ("none", "high")
    with ThreadPoolExecutor(2) as clients:
        try:
            for replica in replicas:
                replica.suspend()
            wait_until(lambda: healthy(http, "throughput") == healthy(http, "latency") == 0, timeout_s=10)
            assert http.get("/ready").status_code == 200
            waiting = [
                clients.submit(
                    http.post,
                    "/v1/chat/completions",
                    json=BODY | {"max_tokens": 8, "reasoning_effort": effort},
                    timeout=120,
                )
                for effort in efforts
            ]
            time.sleep(2.0)
            assert not any(one.done() for one in waiting)
        finally:
            for replica in replicas:
                replica.resume()
        answers = [one.result() for one in waiting]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.headers["x-venturi-pool"] for answer in answers] == ["throughput", "latency"]


def test_replica_killed_in_mid_stream(system: LocalSystem, http: httpx.Client) -> None:
    """The stream ends in an error event, the next request is served elsewhere, and the pool comes back.

    Also: nothing of the killed replica's engine stays behind.
    """
    replica = replica_of(system, "latency")
    children = replica.children(recursive=True)
    assert children, "the engine core is a child of the replica"
    streaming = BODY | {"stream": True, "max_tokens": 8000, "min_tokens": 8000}
    with http.stream("POST", "/v1/chat/completions", json=streaming) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        replica.kill()
        rest = [line for line in lines if line]
    assert "data: [DONE]" not in rest
    error = json.loads(rest[-1].removeprefix("data: "))["error"]
    assert error["code"] == "replica_lost"

    killed_s = time.monotonic()
    spilled = http.post("/v1/chat/completions", json=BODY | {"max_tokens": 8})
    assert spilled.status_code == 200, spilled.text
    assert spilled.headers["x-venturi-pool"] == "throughput"
    assert spilled.headers["x-venturi-reason"] == "no-healthy-replica"
    assert http.get("/ready").status_code == 503
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "the engine outlived its replica"

    wait_until(lambda: healthy(http, "latency") == 1, timeout_s=600)
    print(f"latency pool back {time.monotonic() - killed_s:.1f} s after SIGKILL")
    answer = http.post("/v1/chat/completions", json=BODY | {"max_tokens": 8})
    assert answer.headers["x-venturi-pool"] == "latency"
    assert answer.headers["x-venturi-reason"] == "effort"


def test_replica_leaves_when_its_engine_dies(system: LocalSystem, http: httpx.Client) -> None:
    """A dead engine core takes its replica along at once, the other pool serves, and the pool comes back.

    Of the requests that it had, the one that has begun ends in an error event, and the one that has not
    is served by the other pool.
    """
    replica = replica_of(system, "throughput")
    cores = [p for p in replica.children(recursive=True) if "EngineCore" in " ".join(p.cmdline())]
    assert cores, [p.cmdline() for p in replica.children(recursive=True)]
    before = num_retries(http)
    asked = BODY | {"max_tokens": 8, "reasoning_effort": "none"}
    streaming = asked | {"stream": True, "max_tokens": 8000, "min_tokens": 8000}
    with (
        ThreadPoolExecutor(1) as other,
        http.stream("POST", "/v1/chat/completions", json=streaming) as begun,
    ):
        lines = begun.iter_lines()
        assert next(lines).startswith("data: ")
        # An engine that stands still answers nobody: what is sent now waits for its first byte.
        cores[0].suspend()
        waiting = other.submit(http.post, "/v1/chat/completions", json=asked, timeout=120)
        time.sleep(1.0)
        assert not waiting.done()
        cores[0].kill()
        rest = [line for line in lines if line]
    replica.wait(timeout=5)
    assert "data: [DONE]" not in rest
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "replica_lost"
    retried = waiting.result()
    assert retried.status_code == 200, retried.text
    assert retried.headers["x-venturi-pool"] == "latency"
    assert retried.headers["x-venturi-reason"] == "no-healthy-replica"
    assert num_retries(http) > before, "it had been sent to the replica that died"

    answer = http.post("/v1/chat/completions", json=asked, timeout=120)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-venturi-pool"] == "latency"
    wait_until(lambda: healthy(http, "throughput") == 1, timeout_s=600)
