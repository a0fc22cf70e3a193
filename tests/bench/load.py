"""How fast does a server answer under a closed loop of clients?

A closed loop of n: n clients, each of which sends its next request when its last answer is complete. Run
`drive` in a process of its own: it shares the machine with what it measures, and says how much it took.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import aiohttp

WORDS = ("river", "valley", "stone", "bridge", "garden", "window", "paper", "water", "apple", "light", "fast")
NUM_KEYS = 4
"""Makes prompts of about 75 tokens of the pocket model, whose answers are of 40 or more."""

TIMEOUT_S = 300.0

_TEXT = re.compile(rb'"(?:content|reasoning)":"[^"]')


def prompts(seed: object, number: int) -> tuple[str, ...]:
    """Return `number` prompts that ask for JSON of random words, the same ones for the same `seed`."""
    rng = Random(str(seed))
    return tuple(_prompt(rng) for _ in range(number))


def _prompt(rng: Random) -> str:
    keys = rng.sample(WORDS, NUM_KEYS)
    facts = " ".join(f"The {key} is {''.join(rng.choices(WORDS, k=2))}." for key in keys)
    return f"{facts} Give me this as JSON with keys {', '.join(keys)}."


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the `percent` percentile (0..100), interpolated linearly between neighbours.

    Raises ValueError when there are no values, or for another `percent`.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent} of {len(values)} values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class Timeline:
    """When did the parts of one stream of server-sent events arrive? Times in seconds of one clock."""

    def __init__(self) -> None:
        self.first_s: float | None = None
        """When the first event was complete: vLLM sends it with the first token."""
        self.text_at_s: list[float] = []
        """When each read arrived that completed an event with text: several events in one read count once."""
        self.finish_reason: str | None = None
        self.is_complete = False
        """Whether [DONE] came, and nothing after it."""
        self._rest = b""

    def feed(self, part: bytes, at_s: float) -> None:
        """Take what one read brought; events may begin and end anywhere in it."""
        *events, self._rest = (self._rest + part).split(b"\n\n")
        events = [event for event in events if event.strip()]
        if events and self.first_s is None:
            self.first_s = at_s
        if any(_TEXT.search(event) for event in events):
            self.text_at_s.append(at_s)
        for event in events:
            if found := re.search(rb'"finish_reason":"(\w+)"', event):
                self.finish_reason = found[1].decode()
            self.is_complete = event.strip() == b"data: [DONE]"

    def gaps_s(self) -> Iterator[float]:
        """Yield the seconds between successive reads with text."""
        for earlier, later in zip(self.text_at_s, self.text_at_s[1:], strict=False):
            yield later - earlier


@dataclass(frozen=True)
class Job:
    """What to send: each prompt once, `concurrency` at a time, each for exactly `num_tokens` tokens."""

    url: str
    model: str
    prompts: tuple[str, ...]
    concurrency: int
    num_tokens: int

    def bodies(self) -> list[bytes]:
        """Return the requests' bodies, written before the clock starts."""
        return [
            json.dumps(
                {
                    "model": self.model,
                    "messages": [{"role": "user", "content": prompt}],
                    "max_tokens": self.num_tokens,
                    "ignore_eos": True,
                    "temperature": 0,
                    "stream": True,
                }
            ).encode()
            for prompt in self.prompts
        ]


@dataclass(frozen=True)
class Measured:
    """What one closed loop saw."""

    ttft_ms: tuple[float, ...]
    """Of each request: from sending it to its first event."""
    gaps_ms: tuple[float, ...]
    """Between successive reads with text, of all requests."""
    duration_s: float
    """From the first request to the last answer's end."""
    client_cpu_s: float
    """What this process itself took."""


def drive(job: Job) -> Measured:
    """Run the closed loop. Raises RuntimeError for an answer that is not 200, broken or too short."""
    return asyncio.run(_drive(job))


async def _drive(job: Job) -> Measured:
    bodies = iter(job.bodies())
    timelines: list[tuple[float, Timeline]] = []
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=job.concurrency)
    headers = {"content-type": "application/json"}

    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:

        async def client() -> None:
            for body in bodies:
                sent_s = time.perf_counter()
                timelines.append((sent_s, await _ask(session, job.url, body)))

        cpu_s, began_s = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as clients:
            for _ in range(job.concurrency):
                clients.create_task(client())
        duration_s, client_cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return Measured(
        tuple((line.first_s - sent_s) * 1e3 for sent_s, line in timelines if line.first_s is not None),
        tuple(gap_s * 1e3 for _, line in timelines for gap_s in line.gaps_s()),
        duration_s,
        client_cpu_s,
    )


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> Timeline:
    timeline = Timeline()
    async with session.post(f"{url}/v1/chat/completions", data=body) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {(await answer.text())[:500]}")
        async for part in answer.content.iter_any():
            timeline.feed(part, time.perf_counter())
    if not timeline.is_complete or timeline.finish_reason != "length":
        raise RuntimeError(f"{url}: the answer broke off (finish_reason {timeline.finish_reason})")
    return timeline
