"""May this replica take traffic? Only after it has answered in the form of its dialect at each effort."""

import json
from collections.abc import AsyncIterator, Callable

from serve_app.conformance.answer import Answer
from serve_app.conformance.cases import Case, Said
from serve_app.conformance.dialects import Ask, Chat
from serve_app.conformance.events import events
from serve_app.conformance.part import Malformed, Part
from serve_app.errors import StartError
from serve_app.types import Call, Effort, Head

MOST_TOKENS = 8
"""Enough steps that a draft is verified."""
TEMPERATURE = 0.7
CHAT = Chat()
CASE = Case("ready", (Said("user", "ready?"),), judge=None)


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
    """Ask for a few sampled tokens at each effort, whole and streamed, through the replica's own HTTP path.

    These are cells of the conformance matrix, held to the form of the answer alone: what the model says is
    its own affair. A server can be healthy by every other sign and still die at its first decode, so nothing
    less proves it. And what vLLM compiles when it first samples and verifies, it compiles now, not while a
    client waits. Raises StartError with the answer's status and text, or with what is wrong in it.
    """
    for effort in Effort:
        for stream in (False, True):
            where = f"readiness: effort {effort}, {'streamed' if stream else 'whole'}:"
            body = CHAT.body(Ask(model, CASE, effort, MOST_TOKENS), stream) | {"temperature": TEMPERATURE}
            headers = ((b"content-type", b"application/json"),)
            status, answer = await collect(
                open_stream(Call("POST", CHAT.path, headers, json.dumps(body).encode()))
            )
            if status != 200:
                text = answer[:500].decode(errors="replace")
                raise StartError(f"{where} answered {status}, not 200: {text}")
            try:
                num_tokens = _read(answer, stream).usage.num_answer_tokens
            except Malformed as error:
                raise StartError(f"{where} {error}") from None
            if not 1 <= num_tokens <= MOST_TOKENS:
                raise StartError(f"{where} decoded {num_tokens} tokens, not 1 to {MOST_TOKENS}")


def _read(answer: bytes, stream: bool) -> Answer:
    return CHAT.streamed(list(events([answer]))) if stream else CHAT.whole(Part.parsed(answer))
