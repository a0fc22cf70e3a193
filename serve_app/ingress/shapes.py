"""What does an error look like in each dialect, whole and as an event of a stream?"""

import json
from enum import Enum
from typing import Any

from serve_app.errors import ApiError

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""Anthropic's error types by HTTP status; another 4xx is an invalid request, another 5xx an api_error."""

_STATUSES = {name: status for status, name in ANTHROPIC_TYPES.items()}


class Shape(Enum):
    """Whose form an error has."""

    OPENAI = "openai"
    """`{"error": ...}`, also as an event."""
    RESPONSES = "responses"
    """OpenAI's, but with the Responses API's own event for streams."""
    ANTHROPIC = "anthropic"
    """`{"type": "error", "error": ...}`."""

    def body(self, error: ApiError) -> dict[str, Any]:
        """Return the JSON body of `error`."""
        return self._anthropic(error.status, error.message) if self is Shape.ANTHROPIC else error.body()

    def engines(self, status: int, body: bytes) -> bytes:
        """Return the body of an error that an engine gave, in this form.

        vLLM answers in Anthropic's form only when it has read the request, and in types of its own.
        """
        if self is not Shape.ANTHROPIC:
            return body
        try:
            message = str(json.loads(body)["error"]["message"])
        except (ValueError, LookupError, TypeError):
            message = body.decode(errors="replace")
        return json.dumps(self._anthropic(status, message)).encode()

    def event(self, error: ApiError, num_events: int) -> bytes:
        """Return `error` as the server-sent event that ends a broken stream after `num_events` others.

        It begins with a blank line, so that it is an event of its own wherever the stream broke off, and
        neither [DONE] nor message_stop nor response.completed follows: a client that waits for one knows
        that the answer is not complete.
        """
        if self is Shape.RESPONSES:
            data: dict[str, Any] = {
                "type": "error",
                "code": error.code,
                "message": error.message,
                "param": error.param,
                "sequence_number": num_events,
            }
        else:
            data = self.body(error)
        name = b"" if self is Shape.OPENAI else b"event: error\n"
        return b"\n\n" + name + b"data: " + json.dumps(data).encode() + b"\n\n"

    def refusal(self, opening: bytes) -> tuple[int, bytes] | None:
        """Return status and JSON body of the error that a stream opens with, or None if it opens well.

        vLLM begins a stream before it has looked at all of the request, and then says what is wrong with
        it in the first event. Nothing has been sent to the client yet, so it can still get a status.
        """
        if self is Shape.OPENAI:
            return self._openai_refusal(opening)
        if not opening.startswith(b"event: error\ndata: "):
            return None
        return self._named_refusal(opening.split(b"\n\n", 1)[0].removeprefix(b"event: error\ndata: "))

    @staticmethod
    def _openai_refusal(opening: bytes) -> tuple[int, bytes] | None:
        if not opening.startswith(b'data: {"error"'):
            return None
        body = opening.split(b"\n\n", 1)[0].removeprefix(b"data: ")
        try:
            code = json.loads(body)["error"]["code"]
        except (ValueError, LookupError, TypeError):
            return None  # whatever it is, the client gets it as it came
        return _status(code), body

    def _named_refusal(self, data: bytes) -> tuple[int, bytes] | None:
        try:
            event = json.loads(data)
            if self is Shape.ANTHROPIC:
                status = _STATUSES.get(event["error"]["type"], 500)
                return status, json.dumps(self._anthropic(status, event["error"]["message"])).encode()
            message, code, param = event["message"], event["code"], event.get("param")
            code = int(code) if str(code).isdecimal() else code  # a number, as in what vLLM answers whole
        except (ValueError, LookupError, TypeError):
            return None
        status = _status(code)
        kind = "invalid_request_error" if status < 500 else "server_error"
        return status, json.dumps(
            {"error": {"message": message, "type": kind, "param": param, "code": code}}
        ).encode()

    @staticmethod
    def _anthropic(status: int, message: str) -> dict[str, Any]:
        kind = ANTHROPIC_TYPES.get(status) or ANTHROPIC_TYPES[400 if status < 500 else 500]
        return {"type": "error", "error": {"type": kind, "message": message}}


def _status(code: object) -> int:
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def of_path(path: str) -> Shape:
    """Return the form of errors under `path`, whether there is a route or not."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return Shape.ANTHROPIC
    return Shape.OPENAI
