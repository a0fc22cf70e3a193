"""How does a pool reach an OpenAI-compatible server that Venturi does not run?

All of it is in the ingress process: no actor, no GPU. The server is the pool's one replica, called like it.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any

from serve_app.config import Settings
from serve_app.engine.upstream.answer import Server, answered
from serve_app.engine.upstream.health import Health
from serve_app.engine.upstream.link import Link, Unreachable, max_model_len
from serve_app.engine.upstream.speed import Speed
from serve_app.errors import PoolBusy
from serve_app.types import Call, Head, ReplicaReport

logger = logging.getLogger("ray.serve")

AWAY_PROBE_PERIOD_S = 1.0
"""How often, at least, a server that is away is looked for."""


class UpstreamBackend:
    """The server of one pool, as an `engine.protocol.Backend`. Close it at the end."""

    def __init__(self, settings: Settings, pool: str, clock: Callable[[], float] = time.monotonic) -> None:
        upstream = settings.pools[pool].upstream
        assert upstream is not None, f"pool {pool} has engines of its own"
        self._upstream = upstream
        self._places = settings.upstream_share(pool)
        self._clock = clock
        self._server = Server(
            pool,
            upstream.model or settings.model.name,
            settings.model.name,
            upstream.merge,
            Link(upstream, self._places, settings.ingress.request_timeout_s),
            Health(clock),
            Speed(clock),
            clock,
        )
        self._max_model_len: int | None = None
        self._probed_s = -math.inf
        self._probe: asyncio.Task[None] | None = None
        self._last_trouble: str | None = None

    async def reports(self, num_queued: int) -> Sequence[ReplicaReport | None]:
        """Report what has been seen of the server; None while it is not there. Nobody scales it."""
        self._look_if_due()
        health, speed = self._server.health, self._server.speed
        if not health.is_there:
            return [None]
        return [speed.report(self._server.pool, health.pause_s > 0, self._max_model_len)]

    async def finishing(self, replicas: Collection[str]) -> Collection[str]:
        """Return nothing: the server, once it has answered, is always among the reports or silent."""
        return ()

    def wake(self) -> None:
        """Do nothing: nobody here starts it."""

    async def metrics(self) -> Sequence[tuple[str, bytes]]:
        """Return nothing: whoever runs the server scrapes it."""
        return []

    async def experts(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """Return nothing: the server keeps it to itself."""
        return []

    def open(self, replica: str, call: Call) -> "UpstreamStream":
        """Send `call` to the server, which is the only replica."""
        return UpstreamStream(self._answered(call))

    async def close(self) -> None:
        """Close every connection."""
        if self._probe:
            self._probe.cancel()
            await asyncio.wait({self._probe})
        await self._server.link.close()

    async def _answered(self, call: Call) -> AsyncGenerator[Head | bytes, None]:
        """Yield the answer. Raises PoolBusy without asking a server that should not be asked now."""
        server = self._server
        if pause_s := server.health.pause_s:
            raise PoolBusy(
                f"the server of pool {server.pool} is left alone for another {pause_s:.1f} s",
                headers={"retry-after": str(math.ceil(pause_s))},
            )
        if server.speed.num_ongoing >= self._places:
            raise PoolBusy(
                f"pool {server.pool} has {server.speed.num_ongoing} requests at its server already "
                f"(upstream.max_ongoing_requests={self._upstream.max_ongoing_requests})",
                headers={"retry-after": "1"},
            )
        server.speed.num_ongoing += 1
        try:
            async with aclosing(answered(server, call)) as items:
                async for item in items:
                    yield item
        finally:
            server.speed.num_ongoing -= 1

    def _look_if_due(self) -> None:
        period_s = self._upstream.probe_period_s
        if not self._server.health.is_there:
            period_s = min(period_s, AWAY_PROBE_PERIOD_S)
        if self._clock() < self._probed_s + period_s or (self._probe and not self._probe.done()):
            return
        self._probed_s = self._clock()
        self._probe = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """See whether the server is there, and how much its model reads."""
        server, upstream = self._server, self._upstream
        trouble: str | None = None
        try:
            async with asyncio.timeout(upstream.connect_timeout_s):
                cards = await server.link.models()
        except (Unreachable, TimeoutError) as error:
            server.health.is_there = False
            trouble = str(error) or f"no list of models within {upstream.connect_timeout_s:g} s"
        else:
            server.health.is_there = True
            self._max_model_len = upstream.max_model_len or max_model_len(cards, server.model)
            names = [card.get("id") for card in cards]
            if names and server.model not in names:
                trouble = f"the model {server.model!r} is not in its list, but {names[:5]}"
        if trouble and trouble != self._last_trouble:
            logger.warning(f"pool {server.pool}: {upstream.url}: {trouble}")
        elif self._last_trouble and not trouble:
            logger.info(f"pool {server.pool}: {upstream.url} is there again")
        self._last_trouble = trouble


class UpstreamStream:
    """One answer, as an `engine.protocol.ReplicaStream`."""

    def __init__(self, items: AsyncGenerator[Head | bytes, None]) -> None:
        self._items = items
        self._closing: asyncio.Task[None] | None = None

    def __aiter__(self) -> "UpstreamStream":
        """Return itself."""
        return self

    async def __anext__(self) -> Head | bytes:
        """Return the next item. Raises ReplicaLost, PoolBusy."""
        return await anext(self._items)

    def cancel(self) -> None:
        """Close the connection, which is how servers learn that nobody wants the rest."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._items.aclose())
