"""In which words are requests put to a server that is not ours, and what do its answers say in vLLM's?

Requests of chat arrive here as vLLM's route reads them: the effort stands in `reasoning_effort`, or is none.
Servers call the reasoning `reasoning` (vLLM) or `reasoning_content` (SGLang, llama.cpp), or send it as a part
of the content (Mistral's API); clients of Venturi always find it under the first two.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from serve_app.config import Merge, UpstreamDialect
from serve_app.engine.reasoning import as_clients_read_it
from serve_app.types import Effort

ROUTES: Mapping[UpstreamDialect, str] = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}

DONE = b"[DONE]"
LAST_EVENTS: Mapping[str, frozenset[str]] = {
    ROUTES["responses"]: frozenset({"response.completed", "response.incomplete", "response.failed", "error"}),
    ROUTES["messages"]: frozenset({"message_stop", "error"}),
}
"""Types of event after which a stream is complete, in dialects that send no DONE."""

MAX_MESSAGE_CHARS = 2000

Tree = dict[str, Any]


class NotUnderstood(ValueError):
    """An answer is not of its dialect."""


def asked(path: str, body: Tree, model: str, merge: Merge) -> bytes:
    """Return `body`, a request of ours, in the words of the server."""
    said = {**body, "model": model}
    if path == ROUTES["chat"]:
        effort = Effort(said.pop("reasoning_effort", None) or Effort.NONE)
        said = merged(said, merge.at(effort))
    return compact(said)


def merged(tree: Tree, patch: Mapping[str, Any]) -> Tree:
    """Apply a JSON Merge Patch (RFC 7396)."""
    result = dict(tree)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


def parsed(content: bytes) -> Tree:
    """Return the JSON object in an answer. Raises NotUnderstood."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"not JSON ({type(error).__name__})") from None
    if not isinstance(tree, dict):
        raise NotUnderstood(f"a JSON {type(tree).__name__}, not an object")
    return tree


def whole(path: str, tree: Tree, model: str) -> bytes:
    """Return a complete answer as our clients read it. Raises NotUnderstood."""
    return _understood(lambda: _whole(path, tree, model))


def event(path: str, name: bytes, tree: Tree, model: str) -> bytes:
    """Return an event of a stream as our clients read it. Raises NotUnderstood."""
    return _understood(lambda: _event(path, name, tree, model))


def _understood(write: Callable[[], bytes]) -> bytes:
    try:
        return write()
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise NotUnderstood(f"not of its dialect's form ({type(error).__name__})") from None


def _whole(path: str, tree: Tree, model: str) -> bytes:
    _name_model(tree, model)
    if path != ROUTES["chat"]:
        return compact(tree)
    for choice in tree["choices"]:
        _gather_reasoning(choice["message"])
    return as_clients_read_it(compact(tree))


def _event(path: str, name: bytes, tree: Tree, model: str) -> bytes:
    _name_model(tree, model)
    if path == ROUTES["chat"]:
        for choice in tree.get("choices") or ():
            _gather_reasoning(choice["delta"])
        return as_clients_read_it(_data(tree))
    return (b"event: " + name + b"\n" if name else b"") + _data(tree)


def is_last(path: str, tree: Tree) -> bool:
    """Whether a stream is complete after this event."""
    return tree.get("type") in LAST_EVENTS.get(path, ())


def _name_model(tree: Tree, model: str) -> None:
    for holder in (tree, tree.get("response"), tree.get("message")):
        if isinstance(holder, dict) and "model" in holder:
            holder["model"] = model


def _gather_reasoning(said: Tree) -> None:
    """Let a message or delta have its reasoning in `reasoning`, and a string as its content."""
    reasoning = [said.pop(name) for name in ("reasoning", "reasoning_content") if name in said]
    if isinstance(parts := said.get("content"), list):
        thought = [
            inner["text"] for part in parts if part["type"] == "thinking" for inner in part["thinking"]
        ]
        said["content"] = "".join(part["text"] for part in parts if part["type"] == "text") or None
        reasoning.append("".join(thought) or None)
    if reasoning:
        said["reasoning"] = next((text for text in reasoning if text), reasoning[0])


def num_tokens(tree: Tree) -> int | None:
    """Return how many tokens an answer says that it has, or None if it does not say."""
    usage = tree.get("usage")
    number = usage.get("completion_tokens", usage.get("output_tokens")) if isinstance(usage, dict) else None
    return number if isinstance(number, int) else None


def refusal(status: int, content: bytes) -> bytes:
    """Return the body of a 4xx in OpenAI's form, whatever form the server gave it."""
    try:
        tree = parsed(content)
    except NotUnderstood:
        tree = {"message": content.decode(errors="replace").strip()}
    error = tree.get("error")
    said: Tree = error if isinstance(error, dict) else tree
    message = next((said[key] for key in ("message", "error", "detail") if said.get(key)), None)
    text = message if isinstance(message, str) else json.dumps(message)
    param = said.get("param")
    return compact(
        {
            "error": {
                "message": text[:MAX_MESSAGE_CHARS] if message else f"the request was refused with {status}",
                "type": "invalid_request_error",
                "param": param if isinstance(param, str) else None,
                "code": status,
            }
        }
    )


def _data(tree: Tree) -> bytes:
    return b"data: " + compact(tree) + b"\n\n"


def compact(tree: Mapping[str, Any]) -> bytes:
    """Write JSON in ASCII: a lone surrogate, which JSON may carry escaped, stays escaped."""
    return json.dumps(tree, separators=(",", ":")).encode()
