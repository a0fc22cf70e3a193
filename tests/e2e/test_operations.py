"""Does the whole system say what it does, and is that true?"""

import httpx
import pytest

from tests.e2e.metrics import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

ASKED = {
    "model": "mistral-small-4",
    "messages": [{"role": "user", "content": "What is 17 + 25?"}],
    "reasoning_effort": "high",
    "stream": True,
}


def test_a_decision_is_listed_with_what_came_of_it(http: httpx.Client) -> None:
    """The entry has the answer's request id, replica and reason, and the times."""
    with http.stream("POST", "/v1/chat/completions", json=ASKED) as answer:
        assert answer.read()
    entries = http.get("/venturi/decisions").json()["data"]
    (entry,) = [one for one in entries if one["request_id"] == answer.headers["x-request-id"]]
    for name in ("pool", "replica", "reason", "effort"):
        assert entry[name] == answer.headers[f"x-venturi-{name}"]
    assert 0 < entry["measured"]["ttft_s"] < entry["measured"]["total_s"]
    assert entry["predicted"]["ttft_s"] > 0


def test_pools_show_the_drafts_that_are_accepted(http: httpx.Client) -> None:
    """After an answer at high the latency pool says how long its steps are; the other has no draft head."""

    def acceptance_lengths() -> dict[str, float | None]:
        http.post("/v1/chat/completions", json=ASKED | {"stream": False}).raise_for_status()
        pools = http.get("/venturi/pools").json()["data"]
        return {pool["pool"]: pool["replicas"][0]["acceptance_length"] for pool in pools}

    wait_until(lambda: (acceptance_lengths()["latency"] or 0) > 1, 20)
    assert acceptance_lengths()["throughput"] is None


def test_the_console_is_served(http: httpx.Client) -> None:
    """Through the proxy too: the page, and the script that it names."""
    page = http.get("/console", follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/console/")
    assert 'src="console.js"' in page.text
    assert http.get("/console/console.js").headers["content-type"].startswith("text/javascript")
