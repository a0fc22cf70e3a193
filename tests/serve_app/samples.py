"""Which settings, pools and systems of scripted replicas do several tests start from?"""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.trace import Tracer

from serve_app import config
from serve_app.config import Ingress, Model
from serve_app.engine.scripted import ScriptedBackend, Step
from serve_app.errors import ConfigError
from serve_app.ingress.api import make_app
from serve_app.ingress.gate import Gate
from serve_app.metrics import Metrics
from serve_app.pools.directory import Directory
from serve_app.pools.pool import Pool
from serve_app.router.dispatch import Router
from serve_app.router.policy import Policy
from serve_app.rules import Rules
from serve_app.tracing import NO_TRACER, OFF, Traces
from serve_app.types import Call, Effort, Head, PoolSnapshot

CALL = Call("POST", "/v1/chat/completions", body=b"{}")

ARGS: dict[str, Any] = {
    "model": {"path": "deploy/pocket/target", "name": "mistral-small-4"},
    "pools": {"throughput": {"efforts": ["none"]}, "latency": {"efforts": ["high"]}},
}
"""The least that is valid."""


def args(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return ARGS with each dotted key of `changes` set to its value, or dropped where that is `...`."""
    tree = copy.deepcopy(ARGS)
    for dotted, value in (changes or {}).items():
        *parents, last = dotted.split(".")
        branch = tree
        for key in parents:
            branch = branch.setdefault(key, {})
        if value is ...:
            del branch[last]
        else:
            branch[last] = value
    return tree


def problems(changes: Mapping[str, Any]) -> list[str]:
    """Return the lines with which ARGS are refused once `changes` are made to them."""
    with pytest.raises(ConfigError) as refused:
        config.parse(args(changes))
    return refused.value.problems


def head(replica: str, content_type: str = "application/json", status: int = 200) -> Head:
    """Return the head of an answer that `replica` has signed, as real replicas do."""
    return Head(status, ((b"content-type", content_type.encode()),)).signed(replica, b"")


@dataclass
class System:
    """A router over scripted pools, with what a test looks at afterwards."""

    router: Router
    pools: dict[str, Pool]
    backends: dict[str, ScriptedBackend]
    metrics: Metrics
    clock: "Clock"

    async def refresh(self) -> "System":
        """Let every pool hear from its replicas once; return this system."""
        for pool in self.pools.values():
            await pool.refresh()
        return self

    def asked(self) -> list[str]:
        """Return the replicas of all pools that were sent a call, pool by pool, in order."""
        return [replica for backend in self.backends.values() for replica, _ in backend.calls]

    def num_leases(self) -> dict[str, int]:
        """Return the leases that each pool counts as held."""
        return {name: pool.num_leases for name, pool in self.pools.items()}

    def num_cancels(self) -> int:
        """Return how often any stream was cancelled."""
        return sum(stream.num_cancels for b in self.backends.values() for stream in b.streams)

    def counted(self, name: str, **labels: str) -> float:
        """Return the value of one series of our own metrics, 0 when it was never counted."""
        return self.metrics._registry.get_sample_value(name, labels) or 0.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def system(
    throughput: Mapping[str, Iterable[Step]],
    latency: Mapping[str, Iterable[Step]] | None = None,
    *,
    rules: Rules | None = None,
    num_ongoing: Mapping[str, int] | None = None,
    period_s: float = 0.02,
    max_num_seqs: int = 256,
    max_queued: int = 100,
    tracer: Tracer = NO_TRACER,
) -> System:
    """Return a system of two pools; each replica is named and has its script."""
    clock, metrics = Clock(), Metrics("ingress-1")
    scripts = {"throughput": dict(throughput), "latency": dict(latency or {})}
    backends = {name: ScriptedBackend(s, dict(num_ongoing or {})) for name, s in scripts.items()}
    efforts = {"throughput": Effort.NONE, "latency": Effort.HIGH}
    pools = {
        name: Pool(
            PoolSnapshot(name, frozenset({efforts[name]}), max_num_seqs=max_num_seqs), backends[name], clock
        )
        for name in scripts
    }
    policy = Policy(rules or Rules(), {}, Random(0))
    queued = dict.fromkeys(pools, max_queued)
    router = Router(Directory(pools, period_s), policy, metrics, queued, clock, tracer)
    return System(router, pools, backends, metrics, clock)


MODEL = Model(path="deploy/pocket/target", name="mistral-small-4", aliases=("small",))


def api(
    parts: System, *, limits: Ingress | None = None, model: Model = MODEL, traces: Traces = OFF
) -> FastAPI:
    """Return the ingress app over a system, on the first of March 2026."""
    limits = limits or Ingress()
    gate = Gate(limits, "127.0.0.1", parts.metrics, parts.clock)
    return make_app(
        parts.router, model, limits, parts.metrics, gate, 8192, lambda: date(2026, 3, 1), traces=traces
    )


@asynccontextmanager
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run the lifespan of `app`, let the pools report, and yield a client that reaches it."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        await asyncio.sleep(0.01)
        yield http


async def until(done: Callable[[], bool], limit_s: float = 2.0) -> None:
    """Wait until `done()`, or fail after `limit_s` seconds."""
    async with asyncio.timeout(limit_s):
        while not done():
            await asyncio.sleep(0.002)


async def gather(work: AsyncIterator[bytes]) -> list[bytes]:
    """Return every item of an iterator."""
    return [item async for item in work]


async def cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait({task})


Receive = Callable[[], Awaitable[dict[str, Any]]]
