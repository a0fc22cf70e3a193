"""How do clients find the reasoning under both of its names?

vLLM calls the field `reasoning`; many clients, written for other servers, read `reasoning_content`.
"""

import re

# In JSON text, a string's own quotes are escaped: `"reasoning":` unescaped can only be a key.
_FIELD = re.compile(rb'"reasoning":("[^"\\]*(?:\\.[^"\\]*)*"|null)')


def under_both_names(body: bytes) -> bytes:
    """Repeat each `reasoning` field of a compact JSON text or server-sent event as `reasoning_content`."""
    return _FIELD.sub(rb'\g<0>,"reasoning_content":\1', body)
