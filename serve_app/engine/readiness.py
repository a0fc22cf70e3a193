"""May this replica take traffic? Only after it has decoded some tokens at each effort."""

import json
from collections.abc import AsyncIterator, Callable

from serve_app.errors import StartError
from serve_app.types import Call, Effort, Head

MOST_TOKENS = 8
"""Enough steps that a draft is verified."""


async def collect(stream: AsyncIterator[Head | bytes]) -> tuple[int, bytes]:
    """Read a whole answer; return its HTTP status and body."""
    status, parts = 0, []
    async for item in stream:
        if isinstance(item, Head):
            status = item.status
        else:
            parts.append(item)
    return status, b"".join(parts)


async def check(open_stream: Callable[[Call], AsyncIterator[Head | bytes]], model: str) -> None:
    """Ask for a few sampled tokens at each effort through the replica's own HTTP path.

    A server can be healthy by every other sign and still die at its first decode, so nothing less
    proves it. And what vLLM compiles when it first samples and verifies, it compiles now, not while a client
    waits. Raises StartError with the answer's status and text.
    """
    for effort in Effort:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "ready?"}],
            "reasoning_effort": effort,
            "max_tokens": MOST_TOKENS,
            "temperature": 0.7,
        }
        call = Call(
            "POST",
            "/v1/chat/completions",
            ((b"content-type", b"application/json"),),
            json.dumps(body).encode(),
        )
        status, answer = await collect(open_stream(call))
        if status != 200:
            text = answer[:500].decode(errors="replace")
            raise StartError(f"readiness: effort {effort} answered {status}, not 200: {text}")
        try:
            count = json.loads(answer)["usage"]["completion_tokens"]
        except (ValueError, LookupError, TypeError):
            raise StartError(f"readiness: effort {effort} answered no completion: {answer[:500]!r}") from None
        if not 1 <= count <= MOST_TOKENS:
            raise StartError(f"readiness: effort {effort} decoded {count} tokens, not 1 to {MOST_TOKENS}")
