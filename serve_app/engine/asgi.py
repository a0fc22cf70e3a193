"""How does one call into an ASGI app become a head and then bytes?"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from serve_app.types import Call, Head

CANCEL_GRACE_S = 3.0
"""How long an app may take to notice a disconnect before its task is cancelled."""

_END = None


def _scope(call: Call) -> Scope:
    path, _, query = call.path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": list(call.headers),
        "client": None,
        "server": None,
    }


async def stream(
    app: ASGIApp, call: Call, rewrite: Callable[[bytes], bytes] = lambda body: body
) -> AsyncGenerator[Head | bytes, None]:
    """Run `call` through `app`; yield its Head, then its body.

    Body messages that are ready together are joined into one item, so a slow consumer gets fewer
    and larger ones. `rewrite` is applied to each body message of the app before that: the app's own
    boundaries (one server-sent event a message, say) are still there. The app's content-length is
    dropped, since `rewrite` may change it.

    Closing the iterator early tells the app `http.disconnect`, which is how it learns to stop the
    engine; an app that has not returned CANCEL_GRACE_S seconds later is cancelled. An exception
    of the app is raised here after what it had sent.
    """
    messages: asyncio.Queue[Message | None] = asyncio.Queue()
    gone = asyncio.Event()
    body_sent = False

    async def receive() -> Message:
        nonlocal body_sent
        if not body_sent:
            body_sent = True
            return {"type": "http.request", "body": call.body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def run() -> None:
        try:
            await app(_scope(call), receive, messages.put)
        finally:
            messages.put_nowait(_END)

    task = asyncio.create_task(run())
    try:
        while (message := await messages.get()) is not _END:
            if message["type"] == "http.response.start":
                headers = tuple((k, v) for k, v in message["headers"] if k != b"content-length")
                yield Head(message["status"], headers)
                continue
            parts = [rewrite(message.get("body", b""))]
            ended = False
            while not messages.empty() and not ended:
                following: Any = messages.get_nowait()
                ended = following is _END
                if not ended:
                    parts.append(rewrite(following.get("body", b"")))
            if joined := b"".join(parts):
                yield joined
            if ended:
                break
        await task
    finally:
        gone.set()
        if not task.done():
            asyncio.get_running_loop().call_later(CANCEL_GRACE_S, task.cancel)
