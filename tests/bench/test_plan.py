"""Plans: what they say, what is refused, and the serve file that each server starts from."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from serve_app.engine.upstream.words import merged
from tests.bench.plan import AnyLoad, Loop, Plan, Server, Stream, load_of, read

PLANS = sorted((Path(__file__).parent / "plans").glob("*.yaml"))
LOOP = Loop(concurrency=1, requests=1)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_plan_leads_to_serve_files(path: Path, tmp_path: Path) -> None:
    """Each server's file is valid, and has its one pool for both efforts."""
    plan = read(path)
    for server in plan.servers:
        file = plan.serve(server, tmp_path)
        assert file.settings.pools.keys() == server.pools.keys()
        if len(server.pools) == 1:
            (pool,) = file.settings.pools.values()
            assert {effort.value for effort in pool.efforts} == {"none", "high"}
        assert file.host == "127.0.0.1"


def test_a_change_reaches_the_serve_file(tmp_path: Path) -> None:
    """The plan comes on top of the pool, the server on top of that; the draft head is the plan's."""
    plan = Plan(
        serve_file=Path("deploy/h200x2.yaml").resolve(),
        servers=(),
        model={"layers": 2},
        pool={"engine": {"load_format": "dummy", "max_num_seqs": 64}},
    )
    change = {"engine": {"max_num_seqs": 32}, "speculation": {"max_draft_tokens": 2}}
    server = Server("s", "venturi", {"latency": change}, (LOOP,), {"replicas": 3})
    settings = plan.serve(server, tmp_path).settings
    pool = settings.pools["latency"]
    assert (pool.engine["load_format"], pool.engine["max_num_seqs"]) == ("dummy", 32)
    assert pool.speculation is not None
    assert (pool.speculation.max_draft_tokens, pool.speculation.draft) == (2, str(tmp_path / "bench-eagle"))
    assert settings.ingress.replicas == 3
    assert (tmp_path / "bench-target" / "params.json").exists()


def test_a_load_with_a_rate_is_a_stream() -> None:
    """It takes what it needs of what all loads of a plan begin with, and comes back from a results file."""
    load = load_of({"prompt_tokens": 64, "answer_tokens": 32, "rate_per_s": 2, "duration_s": 9, "high": 0.25})
    assert load == Stream(rate_per_s=2, duration_s=9, high=0.25, prompt_tokens=64)
    assert [(kind.effort, kind.share) for kind in load.mix.kinds] == [("none", 0.75), ("high", 0.25)]
    assert load_of(asdict(load)) == load


def test_none_takes_a_key_away() -> None:
    """A setting of the serve file can be left out; what is not named stays."""
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None}}) == {"a": {"c": 2}, "d": 3}


@pytest.mark.parametrize(
    ("servers", "wrong"),
    [
        (
            [{"name": "s", "kind": "rival", "pools": {"p": {}}, "loads": []}],
            "kind='rival' must be one of venturi",
        ),
        ([{"name": "s", "kind": "fixed", "pools": {"p": {}}}], "'loads'"),
        ([{"name": "s", "kind": "fixed", "pools": {"p": {}}, "loads": [], "polo": 1}], "polo"),
        ([{"name": "s", "kind": "fixed", "pools": {"p": {}}, "loads": []}] * 2, "repeat a name: s, s"),
        (
            [{"name": "s", "kind": "fixed", "pools": {"p": {}}, "loads": [{"clients": 1}]}],
            "a load has no clients",
        ),
        ([{"name": "s", "kind": "fixed", "pools": {"p": {}, "q": {}}, "loads": []}], "has one pool, not 2"),
        (
            [
                {
                    "name": "s",
                    "kind": "fixed",
                    "pools": {"p": {}},
                    "loads": [{"concurrency": 3, "requests": 3, "processes": 2}],
                }
            ],
            "concurrency=3 cannot be shared by processes=2",
        ),
    ],
)
def test_what_is_refused(servers: list[object], wrong: str, tmp_path: Path) -> None:
    """A plan that is wrong says where."""
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({"serve_file": "deploy/local.yaml", "servers": servers}))
    with pytest.raises(ValueError, match=wrong):
        read(path)


def test_no_two_loads_share_a_prompt() -> None:
    """Not even the beginning of one, whatever they differ in; the same load asks every server the same."""
    loads: list[AnyLoad] = [
        Loop(8, 32),
        Loop(8, 64),
        Loop(4, 32),
        Loop(8, 32, prompt_tokens=1024),
        Loop(8, 32, seed=1),
        Stream(9.0, 60.0, 0.5),
        Stream(12.0, 60.0, 0.5),
    ]
    first = [next(iter(load.mix.at_once(1))) for load in loads]
    begun = {load.mix.request(one, "m")[2][:400] for load, one in zip(loads, first, strict=True)}
    assert len(begun) == len(loads)
    assert Loop(8, 32).mix == Loop(8, 32).mix
