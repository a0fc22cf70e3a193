"""What does a quiet tenant notice of another one that floods the same pool?

    python -m tests.bench.tenants [--requests N] [--flood CLIENTS] [--limits 1,4,16]

Starts deploy/local.yaml's throughput pool with two tenants' keys, and measures one quiet client, who asks one
thing after the other: alone, beside a closed loop of more clients than there are places, and beside the same
with the flooding tenant held to so many `concurrent_requests`. All conditions have their turn in each round,
since the machine may be slower later. Ends with a table and a JSON file in `results/`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from parallel.machine import machine
from tests.bench.load import percentile, prompts
from tests.e2e.keyed import Keyed, keyed

RESULTS = Path(__file__).parent / "results"
QUIET_TOKENS, FLOOD_TOKENS = 16, 64
ROUNDS = 2
NEW_KEYS_S = 2.0
"""A new keys file counts within a second."""
GOAL = 1.2
"""Beside the flood over alone: within 20 %."""
ALONE = "alone"


@dataclass
class Seen:
    """What the quiet tenant saw under one condition, and what the flood got."""

    first_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """The quiet tenant's requests that got no answer, by x-venturi-reason."""
    flood: Counter[int] = field(default_factory=Counter)
    """The flood's answers by status."""

    def figures(self) -> dict[str, Any]:
        """Return the medians and 90th percentiles."""
        return {
            f"{name}_p{percent}": percentile(values, percent)
            for name, values in (("first_ms", self.first_ms), ("total_ms", self.total_ms))
            for percent in (50, 90)
        } | {"refused": dict(self.refused), "flood": dict(self.flood)}


def body(prompt: str, num_tokens: int) -> dict[str, Any]:
    """Return a request for a streamed answer of exactly so many tokens."""
    return {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": num_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
    }


async def ask(
    http: httpx.AsyncClient, tenant: str, prompt: str, num_tokens: int
) -> tuple[int, str, float, float]:
    """Return status and reason, and milliseconds to the first event and to the end."""
    began_s, first_s = time.perf_counter(), None
    headers = {"authorization": f"Bearer vk-{tenant}"}
    async with http.stream(
        "POST", "/v1/chat/completions", json=body(prompt, num_tokens), headers=headers
    ) as answer:
        async for _ in answer.aiter_bytes():
            first_s = first_s or time.perf_counter()
    ended_s = time.perf_counter()
    if answer.status_code != 200:
        await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
    times_ms = (((first_s or ended_s) - began_s) * 1e3, (ended_s - began_s) * 1e3)
    return answer.status_code, answer.headers.get("x-venturi-reason", "-"), *times_ms


async def beside(url: str, num_clients: int, asked: Sequence[str], seen: Seen) -> None:
    """Ask the quiet tenant's requests while so many clients flood."""
    async with httpx.AsyncClient(
        base_url=url, timeout=300, limits=httpx.Limits(max_connections=None)
    ) as http:

        async def flood(number: int) -> None:
            for prompt in cycle(prompts(f"flood {number}", 20)):
                seen.flood[(await ask(http, "flood", prompt, FLOOD_TOKENS))[0]] += 1

        flooding = [asyncio.ensure_future(flood(i)) for i in range(num_clients)]
        try:
            await asyncio.sleep(3.0 if num_clients else 0.0)
            for prompt in asked:
                status, reason, first_ms, total_ms = await ask(http, "quiet", prompt, QUIET_TOKENS)
                if status != 200:
                    seen.refused[reason] += 1
                    continue
                seen.first_ms.append(first_ms)
                seen.total_ms.append(total_ms)
        finally:
            for one in flooding:
                one.cancel()
            await asyncio.gather(*flooding, return_exceptions=True)


def measured(parts: Keyed, num_requests: int, num_clients: int, limits: Sequence[int]) -> dict[str, Seen]:
    """Return what was seen under each condition, over all rounds."""
    floods: dict[str, dict[str, object]] = {ALONE: {}, "flood, no limit": {}}
    floods |= {f"flood, {limit} at once": {"concurrent_requests": limit} for limit in limits}
    found = {name: Seen() for name in floods}
    for round_number in range(ROUNDS):
        for name, flood in floods.items():
            parts.holders(quiet={}, flood=flood)
            time.sleep(NEW_KEYS_S)
            clients = 0 if name == ALONE else num_clients
            asked = prompts(f"quiet {round_number} {name}", num_requests)
            print(f"round {round_number + 1} of {ROUNDS}: {name}", file=sys.stderr)
            asyncio.run(beside(f"http://127.0.0.1:{parts.system.file.port}", clients, asked, found[name]))
    return found


COLUMNS = ("first_ms_p50", "first_ms_p90", "total_ms_p50", "total_ms_p90")


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| | first token p50 | p90 | whole p50 | p90 | p50 over alone |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, figures in found.items():
        cells = (f"{figures[column]:.0f} ms" for column in COLUMNS)
        ratio = figures["total_ms_p50"] / found[ALONE]["total_ms_p50"]
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the file."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--requests", type=int, default=15, help="of the quiet tenant, a round")
    options.add_argument("--flood", type=int, default=96, help="clients; the pool has 64 places")
    options.add_argument("--limits", default="1,4,16")
    given = options.parse_args()
    limits = [int(limit) for limit in given.limits.split(",")]
    with tempfile.TemporaryDirectory() as folder, keyed(Path(folder)) as parts:
        measured(parts, 2, 1, ())  # warms up
        found = measured(parts, given.requests, given.flood, limits)
    figures = {name: seen.figures() for name, seen in found.items()}
    print(table(figures))
    about = {"machine": machine(), "goal": GOAL, "rounds": ROUNDS, **vars(given)}
    raw = {name: {"first_ms": seen.first_ms, "total_ms": seen.total_ms} for name, seen in found.items()}
    path = RESULTS / f"tenants-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    path.write_text(json.dumps(about | {"found": figures, "raw": raw}, indent=1) + "\n")
    print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
