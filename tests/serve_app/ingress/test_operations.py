"""What operators are told, and that only operators are."""

from pathlib import Path

import pytest

from serve_app.config import Ingress
from serve_app.engine.scripted import OK
from serve_app.ingress.auth import key_hash
from tests.serve_app.ingress.asking import CHAT, body, refusal
from tests.serve_app.ingress.small import bearer
from tests.serve_app.samples import api, client, system

ROUTES = ("/venturi/pools", "/venturi/decisions", "/venturi/experts")
KEYS = "tenants:\n" + "".join(
    f'- {{name: {name}, keys: ["{key_hash(name.encode())}"]{more}}}\n'
    for name, more in {"ops": ", operator: true", "search": ""}.items()
)


@pytest.fixture
def keyed(tmp_path: Path) -> Ingress:
    """An ingress with an operator and a tenant who is none."""
    path = tmp_path / "keys.yaml"
    path.write_text(KEYS)
    return Ingress.model_validate({"auth": {"keys_file": str(path)}})


async def test_pools() -> None:
    """Each pool has its efforts and its replicas, as this ingress replica sees them."""
    async with client(api(system({"t1": OK, "t2": OK}, {"l1": OK}, num_ongoing={"t2": 4}))) as http:
        found = (await http.get("/venturi/pools")).json()
    assert (found["object"], found["ingress"]) == ("list", "ingress-1")
    seen = {
        pool["pool"]: (pool["efforts"], {r["replica"]: r["num_ongoing"] for r in pool["replicas"]})
        for pool in found["data"]
    }
    assert seen == {"throughput": (["none"], {"t1": 0, "t2": 4}), "latency": (["high"], {"l1": 0})}


@pytest.mark.parametrize("route", ROUTES)
async def test_only_operators(keyed: Ingress, route: str) -> None:
    """Who is none is told so, and counted; nobody in particular gets nothing."""
    parts = system({"t1": OK})
    async with client(api(parts, limits=keyed)) as http:
        assert (await http.get(route)).status_code == 401
        answer = await http.get(route, headers=bearer("search"))
        assert refusal(answer)[0::2] == (403, "not_allowed")
        assert "'search' is not an operator" in answer.json()["error"]["message"]
        assert (await http.get(route, headers=bearer("ops"))).status_code == 200
    assert parts.counted("venturi_refused_total", tenant="search", code="not_allowed") == 1


async def test_an_operator_sees_who_asked(keyed: Ingress) -> None:
    """Decisions have the tenants' names."""
    async with client(api(system({"t1": OK}), limits=keyed)) as http:
        await http.post(CHAT, json=body(), headers=bearer("search"))
        found = (await http.get("/venturi/decisions", headers=bearer("ops"))).json()
    assert [entry["tenant"] for entry in found["data"]] == ["search"]
