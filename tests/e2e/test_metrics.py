"""Is all that is documented on the page of a system that has worked, and all that dashboards ask for?"""

import re
from collections.abc import Iterable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve_app.local import LocalSystem
from serve_app.metrics import documented
from tests.deploy.monitoring.queries import asked, queries
from tests.e2e.metrics import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

CHAT = "/v1/chat/completions"
EXPERTS_S = 60
"""Two readings of the experts' load, on a busy machine."""


def mixed_load(http: httpx.Client) -> None:
    """Ask for something of everything: both efforts, whole and streamed, and what is refused."""
    for effort in ("none", "high"):
        for stream in (False, True):
            asked_for = [{"role": "user", "content": "What is 17 + 25?"}]
            body = {
                "model": "mistral-small-4",
                "max_tokens": 48,
                "reasoning_effort": effort,
                "stream": stream,
            }
            http.post(CHAT, json=body | {"messages": asked_for}).raise_for_status()
    image = {"type": "image_url", "image_url": {"url": "https://127.0.0.1/a.png"}}
    assert http.post(CHAT, json={"messages": [{"role": "user", "content": [image]}]}).status_code == 400
    assert http.post(CHAT, json={}, headers={"host": "elsewhere.example"}).status_code == 403


def samples(texts: Iterable[str]) -> set[str]:
    """Return the names of all samples."""
    families = (family for text in texts for family in text_string_to_metric_families(text))
    return {sample.name for family in families for sample in family.samples}


def page(http: httpx.Client) -> set[str]:
    """Return the names of all samples on the page now."""
    return samples([http.get("/metrics").raise_for_status().text])


def test_every_documented_metric_is_there(http: httpx.Client) -> None:
    """A sample of each, after a mixed load; and all that dashboards and alerts want of vLLM."""
    mixed_load(http)
    wanted = {m.name + ("_count" if m.kind == "histogram" else "") for m in documented()}
    wanted |= {name for _, query in queries() for name in asked(query, "vllm:")}
    wait_until(lambda: "venturi_expert_balancedness" in page(http), EXPERTS_S)
    assert wanted - page(http) == set()


def test_what_ray_lists_has_what_is_asked_of_ray(system: LocalSystem) -> None:
    """Prometheus finds Ray's agents where the scrape configuration says."""
    [group] = system.ask_ray("GET", "/api/prometheus/sd").raise_for_status().json()
    wanted = {name for _, query in queries() for name in asked(query, "ray_")}
    assert wanted

    def found() -> set[str]:
        pages = (httpx.get(f"http://{target}/metrics", timeout=30).text for target in group["targets"])
        # Not Prometheus' parser: what Ray writes is not all that strict.
        return {name for text in pages for name in re.findall(r"^(ray_\w+)", text, re.MULTILINE)}

    wait_until(lambda: wanted <= found(), timeout_s=60)
