"""How many tokens has a request used, as far as its answer has told?"""

import re
from collections.abc import AsyncIterator, Callable, Mapping

from serve_app.ingress.dialects import CHAT, COMPLETIONS, Body, Dialect

TOTAL = re.compile(rb'"total_tokens":\s*(\d+)')
PART = re.compile(rb'"(input|output)_tokens":\s*(\d+)')
"""Of messages, whose usage has no total. In a text that an answer quotes, the quotes would be escaped."""
EVENT = b"data:"
SILENT = (CHAT.path, COMPLETIONS.path)
"""Dialects whose streams tell their usage only to those who ask for it."""


class Usage:
    """The tokens of one request, prompt and answer together; `num_prompt_tokens` is an estimate.

    An answer says what it used at its end, `SILENT` streams if they are asked to: until then each event
    counts as one token, though it may have several.
    """

    def __init__(self, num_prompt_tokens: int) -> None:
        self._num_events = 0
        self._total: int | None = None
        self._parts = {b"input": num_prompt_tokens}

    def read(self, chunk: bytes) -> int:
        """Take in the next whole events, or a whole body; return the tokens used until now."""
        self._num_events += chunk.count(EVENT)
        if totals := TOTAL.findall(chunk):
            self._total = int(totals[-1])
        self._parts |= {part: int(number) for part, number in PART.findall(chunk)}
        if self._total is not None:
            return self._total
        return self._parts[b"input"] + self._parts.get(b"output", self._num_events)


async def metered(
    chunks: AsyncIterator[bytes], usage: Usage, charge: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """Yield the chunks of a stream, and charge what has been used before each."""
    async for chunk in chunks:
        charge(usage.read(chunk))
        yield chunk


def is_silent(dialect: Dialect, body: Body) -> bool:
    """Whether the answer to `body` is a stream that would not tell its usage."""
    options = body.get("stream_options")
    asks = isinstance(options, Mapping) and options.get("include_usage")
    return dialect.path in SILENT and body.get("stream") is True and not asks


def asked(body: Body) -> Body:
    """Return `body`, whose stream would be silent, with the question for its usage."""
    options = body.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        return body  # vLLM says what it should be
    ours = {"include_usage": True, "continuous_usage_stats": False}
    return {**body, "stream_options": {**(options or {}), **ours}}


async def hidden(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks of a stream, each of whole events, without the event that has the usage alone."""
    async for chunk in chunks:
        if b'"choices":[]' in chunk:
            events = chunk.split(b"\n\n")
            chunk = b"\n\n".join(e for e in events if b'"choices":[]' not in e or b'"usage":' not in e)
        if chunk:
            yield chunk
