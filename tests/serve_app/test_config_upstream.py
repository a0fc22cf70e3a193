"""Settings of servers that are not ours: what they default to, and what is refused."""

import copy
from typing import Any

import pytest

from serve_app.config import parse
from serve_app.errors import ConfigError
from serve_app.types import Effort
from tests.serve_app.samples import args

O = "pools.overflow"  # noqa: E741
U = f"{O}.upstream"
GOOD: dict[str, Any] = {O: {"efforts": [], "upstream": {"url": "https://there.example/v1/"}}}


def test_the_least() -> None:
    """A URL is enough: chat, both efforts in the field that vLLM has for them, no key."""
    settings = parse(args(GOOD))
    upstream = settings.pools["overflow"].upstream
    assert upstream is not None
    assert (upstream.url, upstream.dialects) == ("https://there.example/v1", ("chat",))
    assert {effort: upstream.merge.at(effort) for effort in upstream.serves} == {
        Effort.NONE: {"reasoning_effort": "none"},
        Effort.HIGH: {"reasoning_effort": "high"},
    }
    assert list(settings.engine_pools) == ["throughput", "latency"]


def test_as_the_whole_of_every_pool() -> None:
    """Nothing has to run here."""
    there = {"url": "http://127.0.0.1:8001/v1"}
    pools = {
        "a": {"efforts": ["none"], "upstream": there},
        "b": {"efforts": ["high"], "upstream": there},
    }
    assert not parse(args({"pools": pools})).engine_pools


@pytest.mark.parametrize(
    ("url", "key", "shows"),
    [
        ("http://10.0.0.7/v1", {"key_env": "K"}, True),
        ("http://10.0.0.7/v1", {}, False),
        ("https://10.0.0.7/v1", {"key_file": "k"}, False),
        ("http://127.0.0.1:1/v1", {"key_file": "k"}, False),
    ],
)
def test_a_key_in_clear(url: str, key: dict[str, str], shows: bool) -> None:
    """Only http to another machine shows it."""
    settings = parse(args(copy.deepcopy(GOOD) | {U: {"url": url, **key}}))
    upstream = settings.pools["overflow"].upstream
    assert upstream is not None
    assert upstream.shows_its_key is shows


def test_home_by_a_rule() -> None:
    """A pool without efforts of its own may be home to the requests that a rule gives it."""
    router = {"spill_over": False, "prefer": [{"pools": ["overflow"], "shapes": ["images"]}]}
    assert parse(args(copy.deepcopy(GOOD) | {"router": router}))


SHAPE = "must be like https://host/v1, without query or fragment, not"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({f"{U}.url": ...}, f"{U}.url: is required"),
        ({f"{U}.url": "there.example"}, f"{U}.url: {SHAPE} 'there.example'"),
        ({f"{U}.url": "ftp://x/v1"}, f"{U}.url: {SHAPE} 'ftp://x/v1'"),
        ({f"{U}.url": "https://x/v1?key=1"}, f"{U}.url: {SHAPE} 'https://x/v1?key=1'"),
        (
            {f"{U}.url": "https://me:secret@x/v1"},
            f"{U}.url: must have no user or password; the key is named by key_env or key_file",
        ),
        ({f"{U}.key": "sk-1"}, f"{U}.key: unknown key; did you mean 'key_env'?"),
        (
            {f"{U}.key_env": "A", f"{U}.key_file": "b"},
            f"{U}: key_env='A' and key_file='b' exclude each other",
        ),
        ({f"{U}.dialects": []}, f"{U}.dialects: must name at least one, not []"),
        (
            {f"{U}.merge": {"high": {"model": "x"}}},
            f"{U}.merge.high: may not change 'model'; the model's name is upstream.model",
        ),
        ({f"{U}.merge": {"high": {"stream": None}}}, f"{U}.merge.high: may not change 'stream'"),
        (
            {f"{O}.replicas": 2},
            f"{O}: replicas=2 is for engines that Venturi runs; "
            "upstream.url='https://there.example/v1' runs elsewhere",
        ),
        (
            {f"{O}.efforts": ["high"], f"{U}.serves": ["none"]},
            f"{O}: efforts has 'high', but upstream.serves=['none']",
        ),
        (
            {"router": {"spill_over": False}},
            "pools.overflow.efforts=[] and router.spill_over=False: no request would ever go there",
        ),
        ({"pools.throughput.efforts": []}, "pools.throughput.efforts: must name at least one, not []"),
    ],
)
def test_refused(changes: dict[str, Any], line: str) -> None:
    """One line, with the key and what is wrong; of credentials not a word."""
    with pytest.raises(ConfigError) as refused:
        parse(args(copy.deepcopy(GOOD) | changes))
    assert refused.value.problems == [line]
