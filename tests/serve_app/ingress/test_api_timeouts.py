"""An answer that takes too long: its error in each dialect, whole and streamed, and nothing stays held."""

import json
from typing import Any

import httpx
import pytest

from serve_app.config import Ingress
from serve_app.engine.scripted import Step
from tests.serve_app.ingress.asking import CHAT, CONVERSATION, FREE, SSE
from tests.serve_app.samples import System, api, client, head, system

OPENAI = {"type": "timeout_error", "param": None, "code": "answer_timeout"}
ANTHROPIC = {"type": "timeout_error"}
ROUTES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    CHAT: (CONVERSATION, OPENAI),
    "/v1/completions": ({"prompt": "hi"}, OPENAI),
    "/v1/responses": ({"input": "hi"}, OPENAI),
    "/v1/messages": ({**CONVERSATION, "max_tokens": 8}, ANTHROPIC),
}
"""A body for each route, and what its error has beside the message."""
WORDS = "ingress.request_timeout_s"


async def asked(path: str, parts: System, **fields: Any) -> httpx.Response:
    """Ask a system that has a tenth of a second."""
    body = {"model": "mistral-small-4", **ROUTES[path][0], **fields}
    async with client(api(parts, limits=Ingress(request_timeout_s=0.1))) as http:
        return await http.post(path, json=body)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [(10.0,), (head("t1", SSE), 10.0)], ids=["no head", "no body"])
async def test_before_the_first_byte(path: str, stream: bool, script: tuple[Step, ...]) -> None:
    """504 in the form of the dialect, also for a stream that has not begun."""
    parts = system({"t1": script})
    answer = await asked(path, parts, stream=stream)
    assert answer.status_code == 504
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert WORDS in error.pop("message")
    assert error == ROUTES[path][1]
    assert answer.json().get("type") == ("error" if path == "/v1/messages" else None)
    assert parts.num_leases() == FREE


@pytest.mark.parametrize("path", ROUTES)
async def test_in_a_stream(path: str) -> None:
    """The last event is the error in the form of the dialect; nothing says that the answer is complete."""
    first = b"event: one\ndata: {}\n\n"
    parts = system({"t1": (head("t1", SSE), first, 10.0)})
    answer = await asked(path, parts, stream=True)
    assert answer.status_code == 200
    *others, last = [event for event in answer.text.split("\n\n") if event.strip()]
    assert others == [first.decode().strip()]
    name, _, data = last.strip().rpartition("data: ")
    told = json.loads(data)
    named = path in ("/v1/responses", "/v1/messages")
    assert name.strip() == ("event: error" if named else "")
    assert told.get("type") == ("error" if named else None)
    error = told if path == "/v1/responses" else told["error"]
    assert WORDS in error["message"]
    assert error.get("code") == ROUTES[path][1].get("code")
    assert parts.num_leases() == FREE
