"""How does a server keep up with a mix of efforts? An open loop against any OpenAI-compatible URL.

    python -m tests.bench.mixed URL --model NAME --rate 4 --duration-s 60 --out mixed.json
    python -m tests.bench.mixed URL --model NAME --concurrency 100 --requests 1000 --high 0 \
        --none-lengths 1024 512 --spread 0

Requests come as a Poisson process with a recorded seed (`arrivals.py`), or in a closed loop of clients
(`--concurrency`). A request is good if it is answered whole, with its first token and each further one within
the aims of its effort. A server without efforts answers both alike. `sent_late_s` says whether this process
kept up itself: with `--processes`, several share the work.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import inf
from multiprocessing import get_context
from pathlib import Path

import aiohttp

from parallel.machine import clocks, command_line, machine
from tests.bench.arrivals import Arrival, Kind, Mix, dealt
from tests.bench.outcomes import Aim, Outcome, Reading, error_of, summary, table

START_S = 2.0
"""From starting the processes to the first request."""


@dataclass(frozen=True)
class Load:
    """Requests, and how they are sent."""

    url: str
    model: str
    mix: Mix
    arrivals: tuple[Arrival, ...]
    concurrency: int | None
    """Clients of a closed loop; None for an open one."""
    timeout_s: float = 600.0
    """Of one request."""
    limit_s: float | None = None
    """When a closed loop is broken off; what is not answered by then has failed."""
    key: str | None = None
    """Of the tenant who asks."""
    starts_at: float = 0.0
    """By time.time, the same for all processes; at once if it is past."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one load, print its table, write its file; return 1 if a request failed, 2 for a wrong option."""
    options = _parser().parse_args(argv)
    try:
        mix, arrivals = _arrivals(options)
    except ValueError as error:
        print(f"mixed: {error}", file=sys.stderr)
        return 2
    aims = {"none": Aim(*options.none_aims), "high": Aim(*options.high_aims)}
    before = clocks()
    load = Load(
        options.url.rstrip("/"), options.model, mix, tuple(arrivals), options.concurrency, options.timeout_s
    )
    outcomes = drive(load, options.processes)
    found = summary(outcomes, aims)
    print(table(found))
    if options.out:
        record = {
            "machine": machine(),
            "command": command_line("tests.bench.mixed", argv),
            "mix": asdict(mix),
            "aims": {effort: asdict(aim) for effort, aim in aims.items()},
            "clocks": [before, clocks()],
            "found": found,
            "outcomes": [asdict(one) for one in outcomes],
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    return int(found["failed"] > 0)


def drive(load: Load, processes: int = 1) -> list[Outcome]:
    """Send all of a load's requests, its work shared by so many processes."""
    if processes == 1:
        return run(load)
    share = None if load.concurrency is None else load.concurrency // processes
    starts_at = time.time() + START_S
    loads = [
        replace(load, arrivals=tuple(hand), concurrency=share, starts_at=starts_at)
        for hand in dealt(load.arrivals, processes)
    ]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return [outcome for part in pool.map(run, loads) for outcome in part]


def run(load: Load) -> list[Outcome]:
    """Send one process's requests; one that fails in whatever way is an outcome like others."""
    return asyncio.run(_run(load))


async def _run(load: Load) -> list[Outcome]:
    headers = {"content-type": "application/json"}
    headers |= {"authorization": f"Bearer {load.key}"} if load.key else {}
    connector = aiohttp.TCPConnector(limit=0)
    await asyncio.sleep(max(0.0, load.starts_at - time.time()))
    began = time.perf_counter()

    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def timely(arrival: Arrival) -> Outcome:
            await asyncio.sleep(arrival.at_s - (time.perf_counter() - began))
            return await _ask(session, load, arrival, began)

        async def client(arrivals: Iterable[Arrival]) -> list[Outcome]:
            ends_s = began + load.limit_s if load.limit_s else inf
            outcomes: list[Outcome] = []
            for arrival in arrivals:
                if outcomes:  # who was refused comes back when it is told to
                    await asyncio.sleep(min(outcomes[-1].retry_after_s, ends_s - time.perf_counter()))
                if time.perf_counter() >= ends_s:
                    break
                outcomes.append(await _ask(session, load, arrival, began, ends_s))
            return outcomes

        if load.concurrency is None:
            return list(await asyncio.gather(*map(timely, load.arrivals)))
        shared = iter(load.arrivals)
        parts = await asyncio.gather(*(client(shared) for _ in range(load.concurrency)))
        return [outcome for part in parts for outcome in part]


async def _ask(
    session: aiohttp.ClientSession, load: Load, arrival: Arrival, began: float, ends_s: float = inf
) -> Outcome:
    path, headers, body = load.mix.request(arrival, load.model)
    reading, pool, replica, error, retry_after_s = Reading(), None, None, None, 0.0
    sent_s = time.perf_counter() - began
    try:
        timeout = aiohttp.ClientTimeout(total=min(load.timeout_s, ends_s - time.perf_counter()))
        async with session.post(load.url + path, data=body, headers=headers, timeout=timeout) as answer:
            pool, replica = (answer.headers.get(f"x-venturi-{part}") for part in ("pool", "replica"))
            if answer.status != 200:
                retry_after_s = float(answer.headers.get("retry-after", 0))
                message, reading.code = error_of(await answer.read())
                error = f"{answer.status}: {message}"
            async for part in answer.content.iter_any():
                reading.feed(part, time.perf_counter() - began)
    except (aiohttp.ClientError, TimeoutError, OSError) as failure:
        error = f"{type(failure).__name__}: {failure}"[:200]
    if error is None and not reading.is_complete:
        error = reading.error or "the stream broke off"
    if error is None and reading.num_tokens != arrival.answer_tokens:
        error = reading.error or f"{reading.num_tokens} tokens of {arrival.answer_tokens}"
    return Outcome(
        effort=arrival.kind.effort,
        planned_s=arrival.at_s if load.concurrency is None else sent_s,
        sent_s=sent_s,
        ended_s=time.perf_counter() - began,
        asked_tokens=arrival.answer_tokens,
        num_tokens=reading.num_tokens or 0,
        first_s=reading.first_s,
        last_s=reading.last_s,
        num_events=reading.num_events,
        pool=pool,
        replica=replica,
        error=error,
        code=reading.code,
        retry_after_s=retry_after_s,
    )


def _arrivals(options: argparse.Namespace) -> tuple[Mix, list[Arrival]]:
    if not 0 <= options.high <= 1:
        raise ValueError(f"high={options.high:g} must be from 0 to 1")
    kinds = (
        Kind("none", 1 - options.high, *options.none_lengths),
        Kind("high", options.high, *options.high_lengths),
    )
    mix = Mix(kinds, options.seed, options.spread, tuple(options.tokens) if options.tokens else None)
    for name in ("processes", "concurrency", "requests"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise ValueError(f"--{name}={value} must be at least 1")
    if options.concurrency is None:
        arrivals = mix.poisson(options.rate, options.duration_s)
    else:
        arrivals = mix.at_once(options.requests)
    if not arrivals:
        raise ValueError(
            f"--rate={options.rate:g} brings no request within --duration-s={options.duration_s:g}"
        )
    if options.concurrency is not None and options.concurrency % options.processes:
        raise ValueError(
            f"--concurrency={options.concurrency} cannot be shared by --processes={options.processes}"
        )
    return mix, arrivals


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mixed", description=__doc__)
    parser.add_argument("url", help="of the server, without /v1")
    parser.add_argument("--model", required=True)
    loop = parser.add_mutually_exclusive_group(required=True)
    loop.add_argument("--rate", type=float, help="requests a second")
    loop.add_argument("--concurrency", type=int, help="clients of a closed loop, which takes --requests")
    parser.add_argument("--duration-s", type=float, default=60, help="of the arrivals (default 60)")
    parser.add_argument("--requests", type=int, default=100, help="of a closed loop (default 100)")
    parser.add_argument("--high", type=float, default=0.3, help="share of requests with effort high")
    for effort, lengths, aims in (("none", (512, 256), (5.0, None)), ("high", (512, 1024), (1.0, 0.05))):
        parser.add_argument(
            f"--{effort}-lengths", type=int, nargs=2, default=lengths, help="mean tokens, prompt and answer"
        )
        parser.add_argument(
            f"--{effort}-aims", type=float, nargs="+", default=aims, help="seconds to the first, and a token"
        )
    parser.add_argument("--spread", type=float, default=0.5, help="of lengths; 0 for all alike")
    parser.add_argument(
        "--tokens",
        type=int,
        nargs=2,
        metavar=("FROM", "TO"),
        help="random ids as prompts, to /v1/completions",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--timeout-s", type=float, default=600, help="of one request")
    parser.add_argument("--out", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
