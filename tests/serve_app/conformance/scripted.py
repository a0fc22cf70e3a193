"""A server that answers every case rightly in every dialect, and whose answers a test may spoil."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.serve_app.conformance.speech import MODEL, SPEECH, Payload, Told

CALLS = (("get_weather", {"city": "Paris", "unit": "celsius"}), ("get_time", {"city": "Oslo"}))
TEXTS = {
    "17 + 25?": "It is 42.",
    '{"temperature": 21}': "The temperature is 21.",
    "schema:": '{"name": "Alice", "age": 34}',
    "colour": "Red.",
    "my name?": "Your name is Alice.",
    "17 + 25 =": " 42",
}
"""By what stands in the request; one with nothing of it wants calls."""


def told(body: Payload, effort: str) -> Told:
    """The right answer to a request."""
    asked = json.dumps(body, ensure_ascii=False).replace('\\"', '"')
    reasoning = "I think." if effort == "high" else ""
    text = next((text for sign, text in TEXTS.items() if sign in asked), None)
    if text is not None:
        return Told(text, reasoning, ())
    return Told("", reasoning, CALLS if "Oslo" in asked else CALLS[:1])


def _whole(body: Payload) -> Payload:
    return body


def _events(events: list[Payload]) -> list[Payload]:
    return events


@dataclass
class Scripted(httpx.BaseTransport):
    """The server. `whole` and `events` may spoil the form of an answer, `say` what it says."""

    say: Callable[[Told, bool], Told] = lambda answer, stream: answer
    whole: Callable[[Payload], Payload] = _whole
    events: Callable[[list[Payload]], list[Payload]] = _events
    says_done: bool = True
    max_body: int = 80_000
    """Longer ones count as too long a prompt."""
    instead: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    card: Payload = field(default_factory=lambda: {"id": MODEL, "max_model_len": 30_000})
    asked: list[tuple[str, Payload]] = field(default_factory=list)
    """Path and body of every request."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path = request.url.path
        content = request.read()
        body = json.loads(content) if content else {}
        self.asked.append((path, body))
        if (other := self.instead(request)) is not None:
            return other
        if path == "/v1/models":
            return httpx.Response(200, json={"object": "list", "data": [self.card]})
        speak: Any = SPEECH[path]
        effort = speak.effort(body)
        refusal: httpx.Response | None = None
        if body.get("model") != MODEL:
            refusal = speak.error(404, "no such model")
        elif effort not in ("none", "high"):
            refusal = speak.error(400, "no such effort")
        elif len(content) > self.max_body:
            refusal = speak.error(400, "too long")
        if refusal is not None:
            return refusal
        answer = self.say(told(body, effort), bool(body.get("stream")))
        if not body.get("stream"):
            return httpx.Response(200, json=self.whole(deepcopy(speak.whole(answer))))
        # The same item stands in several events; only one of them is to be spoilt.
        events = self.events([deepcopy(event) for event in speak.events(answer)])
        return httpx.Response(
            200,
            headers={"content-type": "text/event-stream; charset=utf-8"},
            content="".join(map(speak.event, events))
            + ("data: [DONE]\n\n" if speak.done and self.says_done else ""),
        )
