"""How do tests of the HTTP edge ask, and read what comes back?"""

from typing import Any

import httpx

from serve_app.config import Ingress
from tests.serve_app.samples import System, api, client

CHAT = "/v1/chat/completions"
SSE = "text/event-stream; charset=utf-8"
EVENTS = (b'data: {"n":1}\n\n', b"data: [DONE]\n\n")
FREE = {"throughput": 0, "latency": 0}
CONVERSATION = {"messages": [{"role": "user", "content": "hi"}]}


def body(**fields: object) -> dict[str, Any]:
    """Return a chat body with these fields."""
    return {"model": "mistral-small-4", "messages": [{"role": "user", "content": "hi"}], **fields}


async def post(parts: System, limits: Ingress | None = None, **request: Any) -> httpx.Response:
    """Send one chat request to a system."""
    async with client(api(parts, limits=limits)) as http:
        return await http.post(CHAT, **({"json": body()} | request))


def venturi_headers(answer: httpx.Response) -> tuple[str, str, str]:
    """Return pool, replica and reason of an answer."""
    names = ("pool", "replica", "reason")
    pool, replica, reason = (answer.headers[f"x-venturi-{name}"] for name in names)
    return pool, replica, reason


def refusal(answer: httpx.Response) -> tuple[int, str, str, str | None]:
    """Return status, type, code and param of an error; check that its shape is OpenAI's."""
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert venturi_headers(answer) == ("-", "-", error["code"])
    return answer.status_code, error["type"], error["code"], error["param"]
