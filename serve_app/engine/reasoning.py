"""How do clients find the reasoning in chat, whichever way they look for it?

vLLM calls the field `reasoning`; many clients, written for other servers, read `reasoning_content`. And many
look for content only in deltas without reasoning, though the tokens of one step, of which speculation has
several, may hold the end of the one and the beginning of the other.
"""

import json
import re
from typing import Any

# In JSON text, a string's own quotes are escaped: `"reasoning":` unescaped can only be a key.
_FIELD = re.compile(rb'"reasoning":("[^"\\]*(?:\\.[^"\\]*)*"|null)')

_DATA = b"data: "
_OTHER = re.compile(rb'"content":"[^"]|"tool_calls":\[\{')


def under_both_names(body: bytes) -> bytes:
    """Repeat each `reasoning` field of a compact JSON text or server-sent event as `reasoning_content`."""
    return _FIELD.sub(rb'\g<0>,"reasoning_content":\1', body)


def apart(event: bytes) -> bytes:
    """Make two of a server-sent event whose deltas have reasoning and something else: first the reasoning."""
    if not event.startswith(_DATA) or b'"reasoning":"' not in event or not _OTHER.search(event):
        return event
    chunk = json.loads(event.removeprefix(_DATA))
    first, rest = [], []
    for choice in chunk["choices"]:
        delta = choice["delta"]
        before = {key: delta.pop(key) for key in ("role", "reasoning") if key in delta}
        first.append({**choice, "delta": before, "logprobs": None, "finish_reason": None})
        rest.append(choice)
    without_usage = {key: value for key, value in chunk.items() if key != "usage"}
    return _event({**without_usage, "choices": first}) + _event({**chunk, "choices": rest})


def _event(chunk: dict[str, Any]) -> bytes:
    return _DATA + json.dumps(chunk, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def as_clients_read_it(body: bytes) -> bytes:
    """A JSON text or server-sent event of vLLM's chat as clients of other servers expect it."""
    return under_both_names(apart(body))
