"""Do keys and limits hold on the whole system, and does it take new ones as it runs?"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serve_app.local import LocalSystem
from tests.e2e.keyed import Keyed, keyed
from tests.e2e.metrics import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def parts(system: LocalSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """One more system for this file, in front of the other tests' engines: tests write its keys file."""
    with keyed(tmp_path_factory.mktemp("keys"), system.file) as running:
        yield running


def ask(parts: Keyed, key: str | None, path: str = CHAT, **fields: Any) -> httpx.Response:
    """Ask for one token."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1, **fields}
    url = f"http://127.0.0.1:{parts.system.file.port}{path}"
    return httpx.post(url, json=body, headers=headers, timeout=60)


def replicas(parts: Keyed) -> set[int]:
    """The processes of its ingress."""
    return {p.pid for p in parts.system.processes() if "ServeReplica" in " ".join(p.cmdline())}


def holders(parts: Keyed, **tenants: dict[str, object]) -> None:
    """Write the keys file, and wait until the ingress has read it."""
    key = parts.holders(**tenants)
    wait_until(lambda: ask(parts, key).status_code == 200, timeout_s=20)


def test_without_a_key(parts: Keyed) -> None:
    """Nobody gets in, in either dialect's form; probes do."""
    for key in (None, "vk-nobody"):
        answer = ask(parts, key)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(parts, None, "/v1/messages").json()["type"] == "error"
    assert ask(parts, "vk-one").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{parts.system.file.port}/ready").status_code == 200


def test_an_effort_that_is_not_allowed(parts: Keyed) -> None:
    """403 for one effort, an answer for the other."""
    holders(parts, plain={"efforts": ["none"]})
    refused = ask(parts, "vk-plain", reasoning_effort="high")
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    assert ask(parts, "vk-plain").status_code == 200


def test_a_limit(parts: Keyed) -> None:
    """The third of two requests a minute is told when to come back; others are not concerned."""
    holders(parts, few={"requests_per_min": 2}, other={})
    assert [ask(parts, "vk-few").status_code for _ in range(2)] == [200, 200]
    refused = ask(parts, "vk-few")
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert ask(parts, "vk-other").status_code == 200


def test_a_key_is_withdrawn(parts: Keyed) -> None:
    """The file alone says who may; nothing is restarted for it."""
    before = replicas(parts)
    assert before
    holders(parts, one={}, two={})
    assert ask(parts, "vk-two").status_code == 200
    holders(parts, one={})
    assert ask(parts, "vk-two").status_code == 401
    assert ask(parts, "vk-one").status_code == 200
    assert replicas(parts) == before
