"""What did the client send? The body is read once, under the limit, and must be a JSON object."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from serve_app.errors import BodyTooLarge, InvalidRequest


async def read(request: Request, max_bytes: int) -> bytes:
    """Return the whole body. Raises BodyTooLarge as soon as it is known to be too long."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(f"{int(declared)} bytes", max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(f"more than {len(body) - len(chunk)} bytes", max_bytes)
    return bytes(body)


def _too_large(size: str, max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the request body has {size}; ingress.max_body_bytes allows {max_bytes}", param="body"
    )


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises InvalidRequest that says where it is broken."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the request body is not JSON: {error}", param="body") from None
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"the request body must be a JSON object, not {type(value).__name__}", param="body"
        )
    return value


def serialise(body: Mapping[str, Any]) -> bytes:
    """Return `body` as JSON, ASCII only: a lone surrogate, which JSON may carry escaped, stays escaped."""
    try:
        return json.dumps(body, separators=(",", ":")).encode()
    except RecursionError:
        raise InvalidRequest("the request body is nested too deeply", param="body") from None
