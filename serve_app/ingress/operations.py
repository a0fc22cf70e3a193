"""What does an ingress replica tell its operators: is it alive and ready, and what do the engines do?"""

from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response

from serve_app.metrics import Metrics
from serve_app.router.dispatch import Router


def add(app: FastAPI, router: Router, metrics: Metrics) -> None:
    """Add the routes to `app`."""

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/ready")
    async def ready() -> Response:
        return _ready(router)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics_text() -> Response:
        for pool, num_healthy in router.num_healthy().items():
            metrics.healthy_replicas.labels(pool).set(num_healthy)
        return Response(metrics.text(await router.engine_metrics()), media_type="text/plain; version=0.0.4")

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
