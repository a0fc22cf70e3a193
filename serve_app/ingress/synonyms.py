"""Which words of a request does vLLM, or this model, know by another name?

Mistral's own API has some for chat. Clients of OpenAI have a `developer` where the encoder has a `system`;
and what another model refused is text.
"""

import json
import reprlib
from collections.abc import Mapping
from operator import is_not
from typing import Any

from serve_app.errors import InvalidRequest
from serve_app.ingress.dialects import CHAT, CHAT_RENDER, Body, Dialect

FIELDS = {"random_seed": "seed"}
VALUES = {("tool_choice", "any"): "required"}
PREFIX = {"continue_final_message": True, "add_generation_prompt": False}
ROLES = {"developer": "system"}
ROLES_OF = ("chat", "responses")
"""Anthropic's dialect has no such role."""


def translated(dialect: Dialect, body: Body) -> Body:
    """Return `body` in vLLM's words: `body` itself where it is so already.

    Null means that nothing is said. Raises InvalidRequest for a field that has different values under
    its two names, and for thinking that is a list of anything but texts.
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
    return _with_parts(_continued(body))


def _with_roles(body: Body, conversation: str) -> Body:
    turns = body.get(conversation)
    if not isinstance(turns, list) or not any(map(_other_role, turns)):
        return body
    named = [{**turn, "role": role} if (role := _other_role(turn)) else turn for turn in turns]
    return {**body, conversation: named}


def _other_role(turn: object) -> str | None:
    role = turn.get("role") if isinstance(turn, Mapping) else None
    return ROLES.get(role) if isinstance(role, str) else None


def _continued(body: Body) -> Body:
    """Return `body` with vLLM's fields for an answer that goes on with its last turn, Mistral's `prefix`."""
    turns = body.get("messages")
    if not isinstance(turns, list) or not turns or not isinstance(last := turns[-1], dict):
        return body
    if last.get("role") != "assistant" or last.get("prefix") is not True:
        return body
    turn = {name: value for name, value in last.items() if name != "prefix"}
    return {**body, "messages": [*turns[:-1], turn]} | PREFIX


def _with_parts(body: Body) -> Body:
    turns = body.get("messages")
    if not isinstance(turns, list):
        return body
    told = [_with_other_parts(turn) for turn in turns]
    return {**body, "messages": told} if any(map(is_not, told, turns)) else body


def _with_other_parts(turn: Any) -> Any:
    if not isinstance(turn, dict):
        return turn
    turn = _with_calls(turn)
    content = turn.get("content")
    if content is None and turn.get("role") == "assistant" and isinstance(turn.get("refusal"), str):
        return {**turn, "content": turn["refusal"]}
    if not isinstance(content, list) or not any(others := [_other_part(part) for part in content]):
        return turn
    return {**turn, "content": [other or part for other, part in zip(others, content, strict=True)]}


def _with_calls(turn: Body) -> Body:
    """Return a turn whose calls have their arguments as text: Mistral's API takes objects, too."""
    calls = turn.get("tool_calls")
    if not isinstance(calls, list) or not any(map(_arguments, calls)):
        return turn
    told = [
        {**call, "function": {**call["function"], "arguments": text}} if (text := _arguments(call)) else call
        for call in calls
    ]
    return {**turn, "tool_calls": told}


def _arguments(call: object) -> str | None:
    function = call.get("function") if isinstance(call, dict) else None
    given = function.get("arguments") if isinstance(function, dict) else None
    return json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else None


def _other_part(part: object) -> Body | None:
    """Return what a part of Mistral's API is in vLLM's words; None if it is in them already.

    There a picture may be its URL, in place of an object that has it, and thinking is made of parts itself.
    """
    if not isinstance(part, dict):
        return None
    if isinstance(url := part.get("image_url"), str):
        return {**part, "image_url": {"url": url}}
    if part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if part.get("type") == "thinking" and isinstance(thoughts := part.get("thinking"), list):
        texts = [thought.get("text") if isinstance(thought, dict) else None for thought in thoughts]
        if len(known := [text for text in texts if isinstance(text, str)]) < len(texts):
            raise InvalidRequest(
                f"thinking={reprlib.repr(thoughts)} must be a string, or a list of text parts",
                param="messages",
            )
        return {**part, "thinking": "".join(known)}
    return None
