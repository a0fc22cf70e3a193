"""What the HTTP edge tells of itself: models, health, readiness and metrics."""

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve_app.engine.scripted import OK, Step
from tests.serve_app.ingress.asking import CHAT, body, refusal
from tests.serve_app.samples import api, client, head, system, until


async def test_models() -> None:
    """Every name of the model is listed, and has a card of its own; others are unknown."""
    async with client(api(system({}))) as http:
        listed = (await http.get("/v1/models")).json()
        cards = {card["id"]: card for card in listed["data"]}
        assert listed["object"] == "list"
        assert list(cards) == ["mistral-small-4", "small"]
        assert {(c["object"], c["owned_by"], c["root"]) for c in cards.values()} == {
            ("model", "venturi", "mistral-small-4")
        }
        assert {card["max_model_len"] for card in listed["data"]} == {8192}
        assert (await http.get("/v1/models/small")).json() == cards["small"]
        unknown = await http.get("/v1/models/org/other")
    assert refusal(unknown) == (404, "invalid_request_error", "model_not_found", "model")
    assert "'org/other'" in unknown.json()["error"]["message"]


async def test_health_needs_no_replica() -> None:
    """The ingress lives, whatever the pools do."""
    async with client(api(system({}))) as http:
        answer = await http.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("latency", "status", "answer"),
    [
        (
            {"l1": OK},
            200,
            {
                "status": "ready",
                "efforts_without_replica": [],
                "healthy_replicas": {"throughput": 2, "latency": 1},
            },
        ),
        (
            {},
            503,
            {
                "status": "not ready",
                "efforts_without_replica": ["high"],
                "healthy_replicas": {"throughput": 2, "latency": 0},
            },
        ),
    ],
)
async def test_ready(latency: dict[str, tuple[Step, ...]], status: int, answer: dict[str, Any]) -> None:
    """Ready means that each effort's own pool has a replica; spilling over is not enough."""
    async with client(api(system({"t1": OK, "t2": OK}, latency))) as http:
        found = await http.get("/ready")
    assert (found.status_code, found.json()) == (status, answer)


async def test_metrics() -> None:
    """One page has our own series, labelled with the ingress, and the engines', with pool and replica."""
    parts = system({"t1": (head("t1"), b"{}")}, {"l1": OK})
    text = b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine="0"} '
    parts.backends["throughput"].texts = {"t1": text + b"3\n"}
    parts.backends["latency"].texts = {"l1": text + b"5\n"}
    async with client(api(parts)) as http:
        await http.post(CHAT, json=body())
        page = await http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }
    running = "vllm:num_requests_running"
    assert found[running, (("engine", "0"), ("pool", "throughput"), ("replica", "t1"))] == 3
    assert found[running, (("engine", "0"), ("pool", "latency"), ("replica", "l1"))] == 5
    own, pool = ("ingress", "ingress-1"), ("pool", "throughput")
    assert found["venturi_replicas", (own, pool, ("state", "healthy"))] == 1
    assert found["venturi_replicas", (own, pool, ("state", "silent"))] == 0
    assert found["venturi_leases", (own, pool)] == 0
    assert found["venturi_ready", (("effort", "high"), own)] == 1
    decided = (("effort", "none"), ("ingress", "ingress-1"), ("pool", "throughput"), ("reason", "effort"))
    assert found["venturi_decisions_total", decided] == 1


async def test_experts() -> None:
    """Each replica's load of experts stands beside its pool and the efforts that come there."""
    parts = system({"t1": OK}, {"l1": OK})
    parts.backends["throughput"].loads = {"t1": {"counts": [[3, 1]], "ranks": 1}}
    parts.backends["latency"].loads = {"l1": {"counts": [[1, 3]], "ranks": 1}}
    async with client(api(parts)) as http:
        answer = (await http.get("/venturi/experts")).json()
    assert answer["object"] == "list"
    assert answer["data"] == [
        {"pool": "throughput", "efforts": ["none"], "replica": "t1", "counts": [[3, 1]], "ranks": 1},
        {"pool": "latency", "efforts": ["high"], "replica": "l1", "counts": [[1, 3]], "ranks": 1},
    ]


async def test_the_lifespan_ends_with_the_app() -> None:
    """When the app goes, nobody asks the replicas any more."""
    num_reports = 0

    def count() -> None:
        nonlocal num_reports
        num_reports += 1

    parts = system({"t1": OK}, period_s=0.001)
    parts.backends["throughput"].on_reports = count
    async with client(api(parts)):
        await until(lambda: num_reports > 3)
    await asyncio.sleep(0.01)
    after = num_reports
    await asyncio.sleep(0.02)
    assert num_reports == after
