"""Which words of a request does vLLM, or this model, know by another name?

Mistral's own API has some for chat. Clients of OpenAI have a `developer` where the encoder has a `system`.
"""

from collections.abc import Mapping

from serve_app.errors import InvalidRequest
from serve_app.ingress.dialects import CHAT, CHAT_RENDER, Body, Dialect

FIELDS = {"random_seed": "seed"}
VALUES = {("tool_choice", "any"): "required"}
ROLES = {"developer": "system"}
ROLES_OF = ("chat", "responses")
"""Anthropic's dialect has no such role."""


def translated(dialect: Dialect, body: Body) -> Body:
    """Return `body` in vLLM's words: `body` itself where it is so already.

    Null means that nothing is said. Raises InvalidRequest for a field that has different values under
    its two names.
    """
    if dialect.name in ROLES_OF and dialect.conversation:
        body = _with_roles(body, dialect.conversation)
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
    messages = body.get("messages")
    if isinstance(messages, list) and any(map(_has_bare_url, messages)):
        body = {**body, "messages": [_with_urls(turn) if _has_bare_url(turn) else turn for turn in messages]}
    return body


def _with_roles(body: Body, conversation: str) -> Body:
    turns = body.get(conversation)
    if not isinstance(turns, list) or not any(map(_other_role, turns)):
        return body
    named = [{**turn, "role": role} if (role := _other_role(turn)) else turn for turn in turns]
    return {**body, conversation: named}


def _other_role(turn: object) -> str | None:
    role = turn.get("role") if isinstance(turn, Mapping) else None
    return ROLES.get(role) if isinstance(role, str) else None


def _has_bare_url(turn: object) -> bool:
    content = turn.get("content") if isinstance(turn, dict) else None
    return isinstance(content, list) and any(map(_is_bare_url, content))


def _is_bare_url(part: object) -> bool:
    """A picture as Mistral's API may have it: the URL itself in place of an object that has it."""
    return isinstance(part, dict) and isinstance(part.get("image_url"), str)


def _with_urls(turn: Body) -> Body:
    parts = [
        {**part, "image_url": {"url": part["image_url"]}} if _is_bare_url(part) else part
        for part in turn["content"]
    ]
    return {**turn, "content": parts}
