"""How many tokens has a request used, as far as its answer has told?"""

import re
from collections.abc import AsyncIterator, Callable

TOTAL = re.compile(rb'"total_tokens":\s*(\d+)')
PART = re.compile(rb'"(input|output)_tokens":\s*(\d+)')
"""Of messages, whose usage has no total. In a text that an answer quotes, the quotes would be escaped."""
EVENT = b"data:"


class Usage:
    """The tokens of one request, prompt and answer together; `num_prompt_tokens` is an estimate.

    An answer says what it used at its end, and a stream only if it was asked to: until then, and if it never
    does, each event counts as one token. A pool whose engine sends several tokens an event is undercounted.
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
