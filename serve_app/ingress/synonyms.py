"""Which words of a chat does vLLM know by another name? Those of Mistral's own API."""

from serve_app.errors import InvalidRequest
from serve_app.ingress.dialects import CHAT, CHAT_RENDER, Body, Dialect

FIELDS = {"random_seed": "seed"}
VALUES = {("tool_choice", "any"): "required"}


def translated(dialect: Dialect, body: Body) -> Body:
    """Return `body` in vLLM's words: `body` itself where it is so already.

    Null means that nothing is said. Raises InvalidRequest for a field that has different values under
    its two names.
    """
    if dialect.path not in (CHAT.path, CHAT_RENDER.path):
        return body
    for theirs, ours in FIELDS.items():
        if (value := body.get(theirs)) is not None:
            if body.get(ours) not in (None, value):
                raise InvalidRequest(
                    f"{ours}={body[ours]!r} and {theirs}={value!r} are two names of one field; "
                    "send one, or the same value",
                    param=theirs,
                )
            body = {k: v for k, v in body.items() if k != theirs} | {ours: value}
    for (field, theirs), ours in VALUES.items():
        if body.get(field) == theirs:
            body = {**body, field: ours}
    return body
