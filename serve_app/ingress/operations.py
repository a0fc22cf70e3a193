"""What does an ingress replica tell its operators? Is it alive and ready, what do router and engines do."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from serve_app.errors import InvalidRequest
from serve_app.ingress.decisions import NUM_KEPT, Decisions
from serve_app.ingress.gate import Admission
from serve_app.metrics import Metrics
from serve_app.router.dispatch import Router

Siblings = Callable[[], Awaitable[Sequence[bytes]]]
"""Returns the own metrics of the other ingress replicas that answer, each in Prometheus text form."""

NUM_SHOWN = 100
"""Decisions that are listed if nobody says how many."""


async def no_siblings() -> Sequence[bytes]:
    """Stand alone."""
    return ()


def add(app: FastAPI, router: Router, metrics: Metrics, siblings: Siblings, decisions: Decisions) -> None:
    """Add the routes to `app`: probes and metrics for everyone, what is under /venturi for operators."""

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

    operators = APIRouter(prefix="/venturi", dependencies=[Depends(_operators_only)])

    @operators.get("/pools")
    async def pools() -> Response:
        return _list(router.overview(), ingress=metrics.ingress)

    @operators.get("/decisions")
    async def last_decisions(request: Request) -> Response:
        return _list(decisions.last(_limit(request)), ingress=metrics.ingress)

    @operators.get("/experts")
    async def experts() -> Response:
        return _list(await router.expert_loads())

    app.include_router(operators)


async def _operators_only(request: Request) -> None:
    admission: Admission = request.state.admission
    admission.require_operator()


def _limit(request: Request) -> int:
    """Return how many entries are asked for; raises InvalidRequest."""
    given = request.query_params.get("limit", str(NUM_SHOWN))
    if not re.fullmatch("[0-9]{1,3}", given) or not 1 <= int(given) <= NUM_KEPT:
        raise InvalidRequest(f"limit={given!r} must be a whole number from 1 to {NUM_KEPT}", param="limit")
    return int(given)


def _list(data: list[dict[str, Any]], **more: str) -> Response:
    return JSONResponse({"object": "list", **more, "data": data}, headers={"cache-control": "no-store"})


def _ready(router: Router) -> Response:
    unready = [effort.value for effort in router.unready()]
    body = {
        "status": "not ready" if unready else "ready",
        "efforts_without_replica": unready,
        "healthy_replicas": router.num_healthy(),
    }
    return JSONResponse(body, status_code=503 if unready else 200)
