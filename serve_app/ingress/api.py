"""Which routes are there, and what does each one do with a request?"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from serve_app import tracing
from serve_app.config import Ingress, Model
from serve_app.errors import AnswerTimeout, ApiError, UnknownRoute, Unsupported, WrongMethod
from serve_app.ingress import body as request_body
from serve_app.ingress import (
    defaults,
    document,
    effort,
    models,
    operations,
    pages,
    parts,
    patience,
    reading,
    shapes,
    streaming,
    unsupported,
)
from serve_app.ingress.cross_origin import CrossOrigin
from serve_app.ingress.decisions import Decisions
from serve_app.ingress.dialects import CHAT_RENDER, DIALECTS, RESPONSES, Dialect
from serve_app.ingress.gate import Admission, Gate, Guarded
from serve_app.ingress.media import Images
from serve_app.ingress.observation import Observation, Outcome
from serve_app.ingress.quota import estimated_tokens
from serve_app.ingress.record import Recorded
from serve_app.ingress.usage import Usage, asked, hidden, is_silent
from serve_app.metrics import Metrics
from serve_app.router import features
from serve_app.router.dispatch import Answer, Router
from serve_app.types import REPLICA_HEADER, Call, Effort, Headers

logger = logging.getLogger("ray.serve")

T = TypeVar("T")

FORWARDED = (b"x-request-id", b"traceparent", b"tracestate")
"""Request headers that the engine gets to see, beside the content type."""

NO_ONE = "-"
"""Stands for pool and replica in the headers of an answer that no engine gave."""


@dataclass(frozen=True)
class Edge:
    """What the routes work with."""

    router: Router
    model: Model
    limits: Ingress
    metrics: Metrics
    images: Images
    today: Callable[[], date]


def utc_today() -> date:
    """Return the date in UTC."""
    return datetime.now(UTC).date()


def make_app(
    router: Router,
    model: Model,
    limits: Ingress,
    metrics: Metrics,
    gate: Gate,
    max_model_len: int,
    today: Callable[[], date] = utc_today,
    siblings: operations.Siblings = operations.no_siblings,
    traces: tracing.Traces = tracing.OFF,
) -> FastAPI:
    """Return the ASGI app of an ingress replica. Its lifespan keeps the router's view fresh.

    `max_model_len`: tokens of prompt and answer together that every pool takes. `siblings`: asks the other
    ingress replicas for their own metrics. `traces` are closed with the app.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        refresh = asyncio.create_task(router.run())
        yield
        refresh.cancel()
        await traces.close()

    # A redirect to a path without its slash would name the scheme as seen here, and clients follow it with
    # their key: behind whatever ends TLS, in clear.
    app = FastAPI(title="Venturi", lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    edge = Edge(router, model, limits, metrics, Images(limits.images, metrics), today)
    decisions = Decisions()
    app.add_middleware(
        Guarded,
        gate=gate,
        guards=lambda path: path not in document.OPEN_PATHS and not pages.has(path),
        refuse=lambda request, error: _error(edge, request, error),
    )
    app.add_middleware(Recorded, decisions=decisions, model=model.name, tracer=traces.tracer)

    for dialect in DIALECTS:
        app.post(dialect.path)(_served(edge, dialect))

    @app.api_route(
        f"{RESPONSES.path}/{{rest:path}}", methods=["GET", "POST", "DELETE"], include_in_schema=False
    )
    async def stored_response(request: Request) -> Response:
        raise Unsupported(
            f"{request.method} {request.url.path}: {unsupported.NOT_STORED}", param="response_id"
        )

    @app.get(document.PATH, include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(document.of(app, model, limits, await _engines_document(edge)))

    models.add(app, model, max_model_len)
    operations.add(app, router, metrics, siblings, decisions)
    pages.add(app)

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> Response:
        return _error(edge, request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        # Unknown routes and methods, in the same shapes.
        kind = WrongMethod if error.status_code == WrongMethod.status else UnknownRoute
        refusal = kind(f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)
        return _error(edge, request, refusal)

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        logger.exception("unexpected error", exc_info=error)
        return _error(
            edge, request, ApiError("internal error; the server's log has it under this request's id")
        )

    if limits.allowed_origins:
        # Around what answers a bug as well, which Starlette keeps outside of every middleware that is added.
        app.middleware_stack = CrossOrigin(app.build_middleware_stack(), limits.allowed_origins)
    return app


def _served(edge: Edge, dialect: Dialect) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return await _serve(edge, request, dialect)

    return serve


async def _serve(edge: Edge, request: Request, dialect: Dialect) -> Response:
    started = asyncio.get_running_loop().time()
    deadline_s = started + edge.limits.request_timeout_s
    arrived_s = edge.router.clock()
    admission: Admission = request.state.admission
    try:
        body = await _before(deadline_s, request_body.read(request, edge.limits.max_body_bytes))
    except ClientDisconnect:
        return Response(status_code=499)
    parsed = request_body.parse(body)
    name = parsed.get("model")
    if name is not None and name not in edge.model.names:
        raise models.unknown(name, edge.model)
    given = request.headers.getlist(effort.HEADER)
    header = ", ".join(given) if given else None
    dialect, applied, said = reading.understood(dialect, parsed, header, edge.limits, edge.model)
    is_stream, longest_s = parsed.get("stream") is True, edge.limits.request_timeout_s
    until = patience.deadlines(request.headers, is_stream, arrived_s, longest_s)
    images = parts.find(said)
    num_text_bytes = len(body) - sum(len(image.url) for image in images)
    request.state.effort = applied
    samples, targets = dialect.generates and dialect is not CHAT_RENDER, edge.router.targets(applied)
    admission.begin(applied, num_text_bytes if samples else 0)
    usage = Usage(estimated_tokens(num_text_bytes))
    asks_for_usage = is_silent(dialect, parsed)
    seen = Observation(edge.metrics, admission.tenant, applied, targets, samples, started, usage)
    request.state.observation = seen

    async def settled_and_routed() -> Answer:
        # Before the defaults, which may put a turn in front of those that the images are in.
        settled = await edge.images.settle(said, images)
        completed = defaults.completed(dialect, settled, applied, edge.model, edge.today())
        wanted = features.of_request(
            completed, applied, admission.tenant, admission.priority, len(images), dialect.path
        )
        if not samples:
            wanted = replace(wanted, blocks=(), generates=False)  # it leaves nothing in a cache
        wanted = replace(wanted, first_token_deadline_s=until.first_token_s, deadline_s=until.whole_s)
        # What nobody had to change travels as it came.
        sent = body if completed is parsed else request_body.serialise(completed)
        if asks_for_usage:
            sent = asked(sent, completed)
        return await edge.router.route(wanted, Call("POST", dialect.path, _forwarded(request), sent))

    routed = _before(deadline_s, settled_and_routed())
    try:
        answer = await streaming.unless_gone(request, routed, Answer.release)
    except ApiError:
        admission.charge(0)  # nobody has answered
        raise
    if answer is None:
        return Response(status_code=499)
    request.state.decision = answer.decision
    seen.begun(answer.decision.pool, answer.head.is_event_stream)
    headers = _answer_headers(answer, applied)
    if answer.head.is_event_stream:
        if refused := dialect.shape.refusal(answer.opening):
            answer.release()
            admission.charge(0)
            seen.ended(Outcome.of(refused[0]))
            return Response(refused[1], refused[0], headers | {"content-type": "application/json"})

        def broken(error: ApiError) -> None:
            logger.error(f"pool {answer.decision.pool}: stream broke off: {error}")
            edge.metrics.broken_streams.labels(answer.decision.pool, error.code).inc()
            seen.broken()

        events = streaming.events(answer, deadline_s, broken, dialect.shape)
        events = seen.followed(events, admission.charge)
        if asks_for_usage:
            events = hidden(events)
        return streaming.Stream(answer, events, answer.head.status, headers, deadline_s)
    try:
        content = await streaming.unless_gone(request, streaming.whole(answer, deadline_s))
    except ApiError:
        seen.ended(Outcome.BROKEN)
        raise
    except asyncio.CancelledError:
        seen.ended(Outcome.ABANDONED)
        raise
    if content is None:
        seen.ended(Outcome.ABANDONED)
        return Response(status_code=499)
    used, failed = usage.read(content), answer.head.status >= 400
    admission.charge(used if samples and not failed else 0)
    seen.ended(Outcome.of(answer.head.status))
    if failed:
        content = dialect.shape.engines(answer.head.status, content)
    return Response(content, answer.head.status, headers)


async def _engines_document(edge: Edge) -> dict[str, Any]:
    """Return what an engine says of its API; nothing if it keeps that to itself."""
    deadline_s = asyncio.get_running_loop().time() + edge.limits.request_timeout_s
    wanted = replace(features.of_request({}, edge.model.default_effort, route=document.PATH), generates=False)
    try:
        answer = await _before(deadline_s, edge.router.route(wanted, Call("GET", document.PATH)))
    except Unsupported:
        return {}  # every pool is a server that is not ours
    content = await streaming.whole(answer, deadline_s)
    return json.loads(content) if answer.head.status == 200 else {}


async def _before(deadline_s: float, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout_at(deadline_s):
            return await work
    except TimeoutError:
        raise AnswerTimeout("the answer did not begin within ingress.request_timeout_s") from None


def _forwarded(request: Request) -> Headers:
    """Return what the engine gets to see: the body is known to be JSON, whatever the client called it."""
    kept = ((name, value) for name, value in request.headers.raw if name in FORWARDED)
    return ((b"content-type", b"application/json"), *kept)


def _answer_headers(answer: Answer, applied: Effort) -> dict[str, str]:
    def engine(name: bytes) -> str:
        return (answer.head.header(name) or b"").decode("latin-1")

    return {
        "content-type": engine(b"content-type"),
        "x-venturi-pool": answer.decision.pool,
        "x-venturi-replica": engine(REPLICA_HEADER),
        "x-venturi-reason": answer.decision.reason.value,
        "x-venturi-effort": applied.value,
    }


def _error(edge: Edge, request: Request, error: ApiError) -> Response:
    edge.metrics.errors.labels(error.status, error.code).inc()
    ours = {"x-venturi-pool": NO_ONE, "x-venturi-replica": NO_ONE, "x-venturi-reason": error.code}
    # A message repeats what the client sent, which may be no Unicode text.
    content = request_body.serialise(shapes.of_path(request.url.path).body(error))
    return Response(content, error.status, {**error.headers, **ours}, "application/json")
