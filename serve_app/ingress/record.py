"""What is left of a request? An entry among the decisions, a line in the log, a span; no content in any."""

import logging
import time
from collections.abc import Callable, Mapping

from opentelemetry.trace import Span, Tracer
from opentelemetry.util.types import AttributeValue
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app import tracing
from serve_app.errors import ApiError
from serve_app.ingress import document
from serve_app.ingress.decisions import Decisions, Entry
from serve_app.ingress.dialects import CHAT, COMPLETIONS, DIALECTS, MESSAGES, RESPONSES
from serve_app.ingress.observation import Outcome

logger = logging.getLogger("ray.serve")

PATHS = frozenset(dialect.path for dialect in DIALECTS) | {document.PATH}
"""What an engine may be asked by. The others are asked all the time, by probes and consoles."""
OPERATIONS = dict.fromkeys((CHAT.path, RESPONSES.path, MESSAGES.path), "chat") | {
    COMPLETIONS.path: "text_completion"
}
"""What the conventions for generative AI call the routes that generate."""
USAGE = {
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
}


class Recorded:
    """An ASGI app whose answers at PATHS are recorded, with the times that they take at the ingress."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        decisions: Decisions,
        model: str,
        tracer: Tracer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._decisions = decisions
        self._model = model
        self._tracer = tracer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        started_s = self._clock()
        entry, state = Entry.of(scope, time.time()), scope.setdefault("state", {})

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.answered(message)
                entry.read(state)
                if entry.effort:
                    self._decisions.add(entry)
            elif entry.first_byte_s is None:
                entry.first_byte_s = self._clock() - started_s
            await send(message)

        name = f"{entry.method} {entry.route}"
        with tracing.of_request(self._tracer, name, tuple(scope["headers"])) as span:
            try:
                await self._app(scope, receive, watched)
            except Exception:
                # A fault of ours, which is answered outside of here.
                entry.status, entry.reason = ApiError.status, ApiError.code
                raise
            finally:
                entry.total_s = self._clock() - started_s
                entry.read(state)
                if entry.decision and not entry.outcome:
                    entry.outcome = Outcome.ABANDONED  # whoever follows the stream learns of it later
                _describe(span, entry, self._model)
                _log(entry)


def _describe(span: Span, entry: Entry, model: str) -> None:
    if not span.is_recording():
        return
    if entry.decision:
        span.set_attributes(tracing.of_decision(entry.decision))
    # After it: the answer's reason may be an error that came later.
    span.set_attributes(
        {name: value for name, value in _attributes(entry, model).items() if value is not None}
    )
    if entry.status >= 500 or entry.outcome is Outcome.BROKEN:
        tracing.failed(span, entry.reason if entry.status >= 500 else Outcome.BROKEN)


def _attributes(entry: Entry, model: str) -> Mapping[str, AttributeValue | None]:
    """Return a request's attributes, by OpenTelemetry's conventions where they have a name for it."""
    return {
        "http.request.method": entry.method,
        "http.route": entry.route,
        "url.path": entry.route,
        "url.scheme": "http",
        tracing.STATUS: entry.status,
        "gen_ai.operation.name": OPERATIONS.get(entry.route),
        "gen_ai.request.model": model,
        "gen_ai.request.stream": entry.is_stream,
        "gen_ai.response.time_to_first_chunk": entry.ttft_s,
        **{name: entry.tokens.get(kind) for kind, name in USAGE.items()},
        "venturi.request_id": entry.request_id,
        "venturi.tenant": entry.tenant,
        "venturi.effort": entry.effort,
        "venturi.outcome": entry.outcome,
        "venturi.reason": entry.reason,
    }


def _log(entry: Entry) -> None:
    """Write the line that Ray Serve's `enable_access_log` is about; as JSON it has all of the entry."""
    if not logger.isEnabledFor(logging.INFO):
        return
    decision = entry.decision
    where = f" {entry.effort} by {decision.pool}/{decision.replica}" if decision else ""
    how = f" {entry.outcome}" if entry.outcome else ""
    logger.info(
        f"{entry.method} {entry.route} {entry.status}{where} ({entry.reason}){how}, {entry.total_s:.3f} s",
        extra={"venturi": entry.values(), "serve_access_log": True},
    )
