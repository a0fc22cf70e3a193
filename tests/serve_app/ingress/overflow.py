"""The ingress over scripted pools of ours, with a server that is not ours as overflow."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import httpx

from serve_app.config import parse
from serve_app.engine.scripted import Step
from serve_app.engine.traits import step_tables, traits
from serve_app.engine.upstream import UpstreamBackend
from serve_app.pools.directory import Directory
from serve_app.pools.pool import Pool
from serve_app.router.dispatch import Router
from serve_app.router.policy import Policy
from serve_app.rules import Rules
from tests.serve_app.samples import System, api, args, client, system, until


@asynccontextmanager
async def beside(
    there: Mapping[str, Any], throughput: Mapping[str, Sequence[Step]]
) -> AsyncIterator[tuple[System, httpx.AsyncClient]]:
    """Run a throughput pool of ours, an empty latency pool, and the server `there` as overflow."""
    settings = parse(args({"pools.overflow": {"efforts": [], "upstream": dict(there)}}))
    parts = system(throughput)
    backend = UpstreamBackend(settings, "overflow", parts.clock)
    parts.pools["overflow"] = Pool(traits(settings, "overflow"), backend, parts.clock)
    policy = Policy(Rules(), step_tables(settings), Random(0))
    queued = dict.fromkeys(parts.pools, 64)
    parts.router = Router(Directory(parts.pools, 0.02), policy, parts.metrics, queued, parts.clock)
    try:
        async with client(api(parts)) as http:
            await until(lambda: parts.router.num_healthy()["overflow"] == 1, limit_s=10)
            yield parts, http
    finally:
        await backend.close()
