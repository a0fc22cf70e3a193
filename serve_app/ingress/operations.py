"""What does an ingress replica tell its operators: is it alive and ready, and what do the engines do?"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response

from serve_app.metrics import Metrics
from serve_app.router.dispatch import Router

Siblings = Callable[[], Awaitable[Sequence[bytes]]]
"""Returns the own metrics of the other ingress replicas that answer, each in Prometheus text form."""


async def no_siblings() -> Sequence[bytes]:
    """Stand alone."""
    return ()


def add(app: FastAPI, router: Router, metrics: Metrics, siblings: Siblings) -> None:
    """Add the routes to `app`."""

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/ready")
    async def ready() -> Response:
        return _ready(router)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics_text() -> Response:
        others, engines = await asyncio.gather(siblings(), router.engine_metrics())
        router.show_state()
        # In a thread: parsing takes tens of milliseconds an engine, and answers are under way here.
        text = await asyncio.to_thread(metrics.text, engines, others)
        return Response(text, media_type="text/plain; version=0.0.4")

    @app.get("/venturi/experts")
    async def experts() -> Response:
        return JSONResponse({"object": "list", "data": await router.expert_loads()})


def _ready(router: Router) -> Response:
    unready = [effort.value for effort in router.unready()]
    body = {
        "status": "not ready" if unready else "ready",
        "efforts_without_replica": unready,
        "healthy_replicas": router.num_healthy(),
    }
    return JSONResponse(body, status_code=503 if unready else 200)
