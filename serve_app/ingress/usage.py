"""How many tokens has a request used, as far as its answer has told?"""

import json
import re
from collections.abc import AsyncIterator, Mapping

from serve_app.ingress.body import serialise
from serve_app.ingress.dialects import CHAT, COMPLETIONS, Body, Dialect

FIGURE = re.compile(rb'"(prompt|input|completion|output|reasoning)_tokens":\s*(\d+)')
"""In a text that an answer quotes, the quotes would be escaped."""
HINT = b'_tokens"'
"""What chunks with figures have; to look for it takes next to no time."""
KINDS = {b"prompt": "input", b"completion": "output"}
"""OpenAI's older names."""
EVENT = b"data:"
SILENT = (CHAT.path, COMPLETIONS.path)
"""Dialects whose streams tell their usage only to those who ask for it."""


class Usage:
    """The tokens of one request; `num_prompt_tokens` is an estimate.

    An answer says what it used at its end, `SILENT` streams if they are asked to, and those of messages say
    0 at their beginning: until then each event counts as one token, though it may have several. `told` has
    what the answer said, by kind: input, output, reasoning, which is a part of output.
    """

    def __init__(self, num_prompt_tokens: int) -> None:
        self._num_events = 0
        self._num_prompt_tokens = num_prompt_tokens
        self.told: dict[str, int] = {}

    def read(self, chunk: bytes) -> int:
        """Take in the next whole events, or a whole body; return the tokens used until now."""
        self._num_events += chunk.count(EVENT)
        if HINT in chunk:
            self.told |= {KINDS.get(k) or k.decode(): int(number) for k, number in FIGURE.findall(chunk)}
        return self.told.get("input", self._num_prompt_tokens) + (self.told.get("output") or self._num_events)


def is_silent(dialect: Dialect, body: Body) -> bool:
    """Whether the answer to `body` is a stream that would not tell its usage."""
    options = body.get("stream_options")
    asks = isinstance(options, Mapping) and options.get("include_usage")
    return dialect.path in SILENT and body.get("stream") is True and not asks


def asked(sent: bytes, body: Body) -> bytes:
    """Return `sent`, a body whose stream would be silent, with the question for its usage.

    `body` is the same as a mapping. Where nothing about it is said yet, the question is put at the end, and
    what may be megabytes of images need not be written anew.
    """
    options = body.get("stream_options")
    if "stream_options" not in body and json.detect_encoding(sent).startswith("utf-8"):
        return sent[: sent.rindex(b"}")] + b',"stream_options":{"include_usage":true}}'
    if options is not None and not isinstance(options, Mapping):
        return sent  # vLLM says what it should be
    ours = {"include_usage": True, "continuous_usage_stats": False}
    return serialise({**body, "stream_options": {**(options or {}), **ours}})


async def hidden(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks of a stream, each of whole events, without the event that has the usage alone."""
    async for chunk in chunks:
        if b'"choices":[]' in chunk:
            events = chunk.split(b"\n\n")
            chunk = b"\n\n".join(e for e in events if b'"choices":[]' not in e or b'"usage":' not in e)
        if chunk:
            yield chunk
