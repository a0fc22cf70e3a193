"""What `explain` says of a request: every filter, every score, the decision."""

import json
from pathlib import Path
from typing import Any

import pytest

from serve_app import config
from serve_app.errors import ConfigError
from serve_app.explain import as_json, as_text, explained
from serve_app.router.scorers import SCORERS
from serve_app.types import Decision, Reason
from tests.serve_app.samples import args

SETTINGS = config.parse(
    args(
        {
            "pools.latency.speculation": {"draft": "deploy/pocket/eagle", "max_model_len": 1000},
            "pools.latency.engine": {"max_num_seqs": 8},
            "pools.latency.device": "cpu",
            "pools.throughput.replicas": 2,
        }
    )
)
CHAT = "/v1/chat/completions"
HIGH = {"messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "high", "max_tokens": 10}


def written(folder: Path, name: str, value: Any) -> Path:
    """Write a JSON file."""
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def verdicts(
    folder: Path, request: dict[str, Any], snapshots: Any = None, route: str = CHAT
) -> tuple[dict[str, str], dict[str, str | None], Decision | None]:
    """Return what is said of the pools, which filter drops each replica, and the decision."""
    file = written(folder, "snapshots.json", snapshots) if snapshots else None
    said = explained(SETTINGS, route, written(folder, "request.json", request), file)
    pools = {pool.pool: pool.verdict for pool in said.pools}
    return pools, {one.replica: one.dropped_by for one in said.replicas}, said.decision


def test_idle(tmp_path: Path) -> None:
    """Without snapshots every pool has its replicas, and all may take it."""
    pools, dropped, decision = verdicts(tmp_path, HIGH)
    assert pools == {"throughput": "away", "latency": "home"}
    assert dropped == {"latency-1": None, "throughput-1": None, "throughput-2": None}
    assert decision == Decision("latency", "latency-1", Reason.EFFORT)


def test_every_filter(tmp_path: Path) -> None:
    """Each filter is named at what it drops."""
    snapshots = {
        "latency": [{"replica": "busy", "num_ongoing": 4}, {"replica": "free", "num_ongoing": 3}],
        "throughput": [{"replica": "old", "age_s": 9}, {"replica": "drains", "is_draining": True}],
    }
    none = HIGH | {"reasoning_effort": "none"}
    pools, dropped, decision = verdicts(tmp_path, none, snapshots)
    assert pools == {"throughput": "home", "latency": "away"}
    assert dropped == {"old": "silent", "drains": "draining", "busy": "floor", "free": None}
    assert decision == Decision("latency", "free", Reason.NO_HEALTHY_REPLICA)


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"min_p": 0.1}, "refused: speculation (min_p)", Reason.PLAIN_DECODING),
        ({"max_tokens": 1000}, "refused: draft-limit", Reason.LENGTH),
    ],
)
def test_every_refusal_of_a_pool(
    tmp_path: Path, changes: dict[str, Any], verdict: str, reason: Reason
) -> None:
    """A pool that must not have the request, or cannot take its length, says which it is."""
    pools, _, decision = verdicts(tmp_path, HIGH | changes)
    assert pools == {"throughput": "away", "latency": verdict}
    assert decision is not None
    assert decision.reason is reason


def test_nothing_left(tmp_path: Path) -> None:
    """Without a decision there is what the client is told."""
    said = explained(SETTINGS, CHAT, written(tmp_path, "r", HIGH), written(tmp_path, "s", {"latency": []}))
    assert said.decision is None
    assert said.refusal == (
        "no healthy replica for reasoning_effort 'high' (healthy replicas: latency: 0, throughput: 0)"
    )
    assert as_text(said).endswith(f"refused   {said.refusal}")


def test_text(tmp_path: Path) -> None:
    """The table has a row a replica with every scorer, and ends in the decision."""
    text = as_text(explained(SETTINGS, CHAT, written(tmp_path, "r", HIGH), None))
    assert "request   effort high; about 6 tokens of prompt, at most 10 of answer; text" in text
    header = next(line for line in text.splitlines() if line.startswith("replica"))
    assert [name for name in SCORERS if name in header.split()] == list(SCORERS)
    assert [line.split()[0] for line in text.splitlines() if "/" in line.split(" ")[0]] == [
        "latency/latency-1",
        "throughput/throughput-1",
        "throughput/throughput-2",
    ]
    assert text.endswith("decision  latency, latency-1: effort")


def test_where_it_waits(tmp_path: Path) -> None:
    """With every place taken, the text says in which pool the request would wait."""
    full = [{"replica": "l1", "num_ongoing": 256}]
    said = explained(SETTINGS, CHAT, written(tmp_path, "r", HIGH), written(tmp_path, "s", {"latency": full}))
    assert as_text(said).endswith("waits     for a place in pool latency, all are taken: effort")


def test_json(tmp_path: Path) -> None:
    """The same for programs."""
    tree = json.loads(as_json(explained(SETTINGS, CHAT, written(tmp_path, "r", HIGH), None)))
    assert tree["decision"]["reason"] == "effort"
    assert set(tree["replicas"][0]["scores"]) == set(SCORERS)
    assert set(tree["replicas"][0]["predicted"]) == {"wait_s", "ttft_s", "per_token_s", "total_s"}


def test_other_routes(tmp_path: Path) -> None:
    """A body is read in the dialect of its route."""
    body = {"input": "hi", "reasoning": {"effort": "high"}}
    _, _, decision = verdicts(tmp_path, body, route="/v1/responses")
    assert decision == Decision("latency", "latency-1", Reason.EFFORT)


@pytest.mark.parametrize(
    ("request_body", "snapshots", "route", "problem"),
    [
        (HIGH | {"reasoning_effort": "low"}, None, CHAT, "request.json: reasoning_effort must be 'none' or"),
        (HIGH, None, "/v1/chat", "--route: must be one of /v1/chat/completions, "),
        (HIGH, {"fast": []}, CHAT, "snapshots.json: no pool 'fast'; there are throughput, latency"),
        (HIGH, {"latency": 1}, CHAT, "snapshots.json: must be an object of lists of replicas, by pool"),
        (HIGH, {"latency": [{"load": 1}]}, CHAT, "snapshots.json: latency: must have 'replica' and may have"),
        (HIGH, {"latency": [{"replica": "r", "age_s": None}]}, CHAT, "latency: age_s=None must be a number"),
        (HIGH, {"latency": [{"replica": "r", "acceptance": 5}]}, CHAT, "snapshots.json: latency: acceptance"),
        (HIGH, {"latency": [{"replica": "r", "kv_usage": "x"}]}, CHAT, "snapshots.json: latency: kv_usage"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, request_body: Any, snapshots: Any, route: str, problem: str
) -> None:
    """A body that the ingress would refuse, an unknown route, snapshots of another shape."""
    with pytest.raises(ConfigError, match=r".") as refused:
        verdicts(tmp_path, request_body, snapshots, route)
    assert problem in refused.value.problems[0]


@pytest.mark.parametrize("name", ["missing.json", "broken.json"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A missing file, and one that is no JSON."""
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match=name):
        explained(SETTINGS, CHAT, written(tmp_path, "r", HIGH), tmp_path / name)


def test_a_pool_that_cannot_run(tmp_path: Path) -> None:
    """It is named, as `check` names it."""
    changes = {"pools.latency.gpu": "H200", "pools.latency.plan": {"tp": 3}}
    settings = config.parse(args({"model.path": "/models/not-here"} | changes))
    with pytest.raises(ConfigError, match=r"^pools\.latency: tp=3 does not divide num_attention_heads=32$"):
        explained(settings, CHAT, written(tmp_path, "request.json", HIGH), None)
