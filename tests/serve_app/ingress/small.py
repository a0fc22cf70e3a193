"""A small app behind a gate, and how tests of the gate ask it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serve_app.config import Ingress
from serve_app.errors import ApiError
from serve_app.ingress.gate import Admission, Gate, Guarded
from serve_app.metrics import Metrics
from serve_app.types import Effort
from tests.serve_app.samples import Clock

PROMPT = "the colour of the hidden door"


def bearer(key: str) -> dict[str, str]:
    """Return the header that OpenAI's clients send."""
    return {"authorization": f"Bearer {key}"}


def ingress(replicas: int = 1, **settings: object) -> Ingress:
    """Return an ingress with these settings of `auth`."""
    return Ingress.model_validate({"replicas": replicas, "auth": settings})


class Small:
    """A small app behind a gate: POST / answers at once, POST /slow once it is told to."""

    def __init__(self, settings: Ingress, listens_on: str) -> None:
        self.clock, self.metrics = Clock(), Metrics("ingress-1")
        self.gate = Gate(settings, listens_on, self.metrics, self.clock)
        self.go = asyncio.Event()
        self.admissions: list[Admission] = []
        routes = [
            Route("/", self._plain, methods=["POST"]),
            Route("/slow", self._slow, methods=["POST"]),
            Route("/health", self._health),
        ]
        app = Starlette(routes=routes, exception_handlers={ApiError: self._on_error})
        self.guarded = Guarded(app, gate=self.gate, guards=lambda path: path != "/health", refuse=_refusal)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.guarded, raise_app_exceptions=False),
            base_url="http://127.0.0.1",
        )

    async def post(self, path: str = "/", effort: str = "none", **request: Any) -> httpx.Response:
        """Send one prompt."""
        body = {"effort": effort, "prompt": PROMPT}
        return await self.http.post(path, **({"json": body} | request))

    def refused(self, tenant: str, code: str) -> float | None:
        """Return how many requests the metrics count as refused."""
        labels = {"tenant": tenant, "code": code}
        return self.metrics._registry.get_sample_value("venturi_refused_total", labels)

    def num_ongoing(self) -> dict[str, int]:
        """Return how many requests of each tenant are under way."""
        return {name: account.num_ongoing for name, account in self.gate._accounts.items()}

    async def _begin(self, request: Request) -> Admission:
        admission: Admission = request.state.admission
        self.admissions.append(admission)
        body = await request.body()
        admission.begin(Effort((await request.json())["effort"]), len(body))
        return admission

    async def _plain(self, request: Request) -> Response:
        admission = await self._begin(request)
        admission.charge(100)
        return PlainTextResponse(f"{admission.tenant} {admission.priority}")

    async def _slow(self, request: Request) -> Response:
        await self._begin(request)

        async def answer() -> AsyncIterator[bytes]:
            yield b"a"
            await self.go.wait()
            if "break" in request.query_params:
                raise RuntimeError("broken")
            yield b"b"

        return StreamingResponse(answer())

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("alive")

    async def _on_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return _refusal(request, error)


def _refusal(_: Request, error: ApiError) -> Response:
    return JSONResponse(error.body(), error.status, error.headers)


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    """Return status, type and code of a refusal in OpenAI's shape."""
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["code"]
