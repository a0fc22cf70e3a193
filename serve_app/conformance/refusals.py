"""Whose form does an error have, and what belongs in it?"""

from enum import Enum

from serve_app.conformance.part import Part

ANTHROPIC_TYPES = {400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large"}
"""Anthropic's error types, by the statuses that a mistake of a request may have."""


class Form(Enum):
    """The form of an error's body."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"

    def message(self, status: int, body: Part) -> str:
        """What the error says. Raises Malformed if the body is not of this form."""
        error = body["error"]
        if self is Form.ANTHROPIC:
            body["type"].is_one_of("error")
            error["type"].is_one_of(ANTHROPIC_TYPES[status])
            return error["message"].name()
        error["type"].name()
        for key in ("param", "code"):
            if not isinstance(error[key].value, str | int | None):
                raise error[key].fault("must be null, or a string or number")
        return error["message"].name()
