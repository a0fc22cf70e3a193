"""Which tables do README.md beside this file, the project's and parallel's show? Those that the results say.

python -m tests.bench.report
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.bench.figures import FIXED
from tests.bench.local import RESULTS
from tests.bench.served import cells, table
from tests.bench.split import best

LAYOUTS = {
    "two replicas": ("bench-two-h200-2026-11-28", "2xtp1"),
    "`tp 2`": ("bench-two-h200-2026-11-28", "tp2"),
    "`tp 2 + ep`": ("bench-two-h200-2026-11-28", "tp2+ep"),
    "`dp 2 + ep`": (
        "bench-dp2-ep-2026-11-28",
        'dp2+ep, compilation_config={"cudagraph_capture_sizes":[1,2,4,8,16,32,64,128,256,512]}',
    ),
    "`dp 2 + ep`, skewed routing": ("bench-two-h200-2026-11-28", "dp2+ep, zipf routing"),
    "the same, 16 redundant experts": (
        "bench-two-h200-2026-11-28",
        "dp2+ep, zipf routing, 16 redundant, default",
    ),
}
"""The columns of `layouts`: a results file, and its case."""

STREAMS = {
    "two equal replicas, EAGLE": ("served-h200x2-2026-11-28", "two equal replicas"),
    "two pools, EAGLE in both, 16 places for high": ("served-h200x2-2026-11-28", "two pools"),
    "the same, since ingress replicas know each other's queues": (
        "served-h200x2-second-2026-11-28",
        "two pools",
    ),
    "two equal replicas, CUDA graphs for every step": (
        "served-h200x2-drafts-2026-11-29",
        "two equal replicas",
    ),
    "two pools, the same, and high goes where it misses least": (
        "served-h200x2-drafts-2026-11-29",
        "two pools",
    ),
}
"""The rows of `streams`: a results file, and its server."""

PLACES = {
    "Venturi, throughput pool": "Venturi, 960 places",
    "the model card's launch": "the model card's launch",
}
"""The servers of `places`: their names in the results, and their labels."""

ADAPTING = (
    ("no draft head", "served-h200-ray-llm-chat-2026-11-29", "Venturi, throughput pool"),
    (
        "1.6: three always",
        "served-h200-adapt-2026-11-29",
        "Venturi, latency pool, an acceptance length of 1.6",
    ),
    ("adapts", "served-h200-adapt-2026-11-29", "Venturi, latency pool that adapts, accepted alike, 1.6"),
    (
        "adapts, first ones first",
        "served-h200-adapt-2026-11-29",
        "Venturi, latency pool that adapts, an acceptance length of 1.6",
    ),
    ("2.6: three always", "served-h200-adapt-2026-11-29", "Venturi, latency pool"),
    ("adapts", "served-h200-adapt-2026-11-29", "Venturi, latency pool that adapts, accepted alike, 2.6"),
    ("adapts, first ones first", "served-h200-adapt-2026-11-29", "Venturi, latency pool that adapts"),
)
"""The columns of `adapting`: a heading, a results file, and its server."""

VARIANTS = {
    "venturi": "Serve's own proxy",
    "venturi-haproxy": "HAProxy",
    "venturi-optimized": "`RAY_SERVE_THROUGHPUT_OPTIMIZED`",
    "venturi-both": "both (what `make serve` uses)",
    "vllm-shipped": "vLLM as shipped, without Venturi",
}
"""Of the ingress and router, by how Ray Serve is set."""
AHEAD = ("ingress", "proxy")
"""What stands before the replica's server."""
BESIDE = {
    "venturi-both": "Venturi, as `make serve`",
    "ray-llm": "ray.serve.llm, as it comes (a stream's tokens every 50 ms)",
    "ray-llm-unbatched": "ray.serve.llm, every token",
}
"""Of OpenAI apps on Ray Serve."""


def read(name: str) -> Any:
    """Return a results file's content."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def layouts() -> str:
    """Engines alone over two GPUs: tokens a second of a user / in all, by requests."""
    columns = [_by_requests(read(file)["cases"][case]) for file, case in LAYOUTS.values()]
    return _by_number(("requests", *LAYOUTS), columns, sorted(set().union(*columns)))


def _by_requests(case: Mapping[str, Any]) -> dict[int, str]:
    return {
        row["requests"]: f"{row['user_tokens_per_s']:.1f} / {row['total_tokens_per_s']:.0f}"
        for row in case["rows"]
    }


def adapting() -> str:
    """A latency pool that drafts three tokens always, or as many as pay: tokens a second of a user."""
    columns = [_by_clients(read(file)["servers"][server]) for _, file, server in ADAPTING]
    headings = ("clients", *(heading for heading, _, _ in ADAPTING))
    return _by_number(headings, columns, sorted(columns[-1]))


def _by_clients(server: Mapping[str, Any]) -> dict[int, str]:
    return {
        row["load"]["concurrency"]: f"{1 / row['found']['per_token_s']['p50']:.1f}"
        for row in server["loads"]
        if row["load"]["tokens"] is None
    }


def streams() -> str:
    """The whole system over two GPUs, under requests of both efforts that come on their own."""
    headings = (
        "",
        "a second, at high",
        "tok/s in all",
        "high: tok/s a user",
        "high, TTFT p50 / p90",
        "none, TTFT p50",
        "within targets, 80 tok/s",
        "50 tok/s",
    )
    rows = (
        (label, *_stream(row["load"], row["found"]))
        for label, (file, server) in STREAMS.items()
        for row in read(file)["servers"][server]["loads"]
        if "rate_per_s" in row["load"]
    )
    return _table(headings, rows, num_left=2)


def _stream(load: Mapping[str, Any], found: Mapping[str, Any]) -> Sequence[str]:
    high, none = found["efforts"]["high"], found["efforts"]["none"]
    first_s = high["first_token_s"]
    return (
        f"{load['rate_per_s']:g}, {_percent(load['high'])}",
        f"{found['output_tokens_per_s']:.0f}",
        f"{1 / high['per_token_s']['p50']:.1f}",
        f"{_seconds(first_s['p50'])} / {_seconds(first_s['p90'])} s",
        f"{_seconds(none['first_token_s']['p50'])} s",
        *(_percent(found["good"][f"{speed} tokens/s"]["all"]) for speed in (80, 50)),
    )


def places() -> str:
    """A throughput pool with many places on one H200, beside the model card's launch."""
    servers = read("served-h200-960-2026-11-29")["servers"]
    headings = (
        "",
        "asked for",
        "clients",
        "tok/s in all",
        "of a user",
        "TTFT p50, ms",
        "refused, or cut off",
    )
    rows = (
        (label, *cells(row), _failed(row["found"]))
        for server, label in PLACES.items()
        for row in servers[server]["loads"]
    )
    return _table(headings, rows, num_left=2)


def _failed(found: Mapping[str, Any]) -> str:
    return f"{found['failed']} of {found['requests']}" if found["failed"] else ""


def overhead(name: str, variants: Mapping[str, str], *, with_ttft: bool) -> str:
    """Servers beside vLLM's own with all fixes. Of one round, first tokens lie too far apart to be shown."""
    found = read(name)["rows"]
    fixed_ms = {row["concurrency"]: row["cpu_ms"]["server"] for row in found if row["system"] == FIXED}
    headings = ("requests/s", "CPU a request: ingress", "proxy", "replica's server")
    rows = (
        (
            label,
            str(row["concurrency"]),
            *((_more(row["ttft_more_ms"]),) if with_ttft else ()),
            _percent(row["rate"]),
            *(f"{row['cpu_ms'][part]:.1f} ms" if part in row["cpu_ms"] else "" for part in AHEAD),
            f"{row['cpu_ms']['server'] - fixed_ms[row['concurrency']]:+.1f} ms",
        )
        for system, label in variants.items()
        for row in found
        if row["system"] == system
    )
    return _table(("", "clients", *(("TTFT p50",) if with_ttft else ()), *headings), rows, num_left=1)


def split(targets: str = "strict") -> str:
    """Goodput over requests of two pools and of equal replicas, each at its best; simulated."""
    headings = (
        "load",
        "at high",
        "equal replicas, plain",
        "equal replicas, best",
        "two pools, best",
        "two pools over equal",
    )
    found = (row for row in read("split-2026-11-28T193530Z")["rows"] if row["targets"] == targets)
    return _table(headings, (_division(**row) for row in found), num_left=0)


def _division(
    level: float, share: float, asked_per_s: float, goodput_per_s: dict[str, float], **_: object
) -> Sequence[str]:
    whole, pools = best(goodput_per_s, split=False), best(goodput_per_s, split=True)
    return (
        _percent(level),
        _percent(share),
        *(_percent(one / asked_per_s) for one in (goodput_per_s["all plain"], whole, pools)),
        f"{pools / whole:.2f}",
    )


def tables() -> dict[str, str]:
    """Return every table, by what it is of."""
    return {
        "one GPU over HTTP": table(read("served-h200-drafts-2026-11-29")),
        "one GPU over HTTP, the pools one by one": table(read("served-2026-11-28T112029Z")),
        "one GPU over HTTP, all loads of the pool that drafts": table(read("served-h200-venturi-2026-11-29")),
        "layouts over two GPUs": layouts(),
        "a pool that adapts": adapting(),
        "ray.serve.llm in chat": table(read("served-h200-ray-llm-chat-2026-11-29")),
        "requests of both efforts over two GPUs": streams(),
        "many places": places(),
        "beside vLLM's own server": overhead("overhead-2026-11-25T124007Z", VARIANTS, with_ttft=True),
        "beside ray.serve.llm": overhead("overhead-2026-11-28T211201Z", BESIDE, with_ttft=False),
        "two pools or equal replicas, simulated": split(),
    }


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(value_s: float) -> str:
    return f"{value_s:.2f}" if value_s < 1 else f"{value_s:.1f}"


def _more(ms: float) -> str:
    return f"{ms:+.0f} ms" if abs(ms) < 1000 else f"{ms / 1000:+.2g} s"


def _by_number(headings: Sequence[str], columns: Sequence[Mapping[int, str]], numbers: Iterable[int]) -> str:
    """Return `columns` beside each other: a row for each of `numbers`, empty where a column has none."""
    rows = ((str(number), *(column.get(number, "") for column in columns)) for number in numbers)
    return _table(headings, rows, num_left=0)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, num_left: int) -> str:
    """Return Markdown; a row whose first cell is that of the row above does not repeat it."""
    lines = [headings, ["---"] * num_left + ["---:"] * (len(headings) - num_left)]
    above = None
    for first, *others in rows:
        lines.append(["" if first == above else first, *others])
        above = first
    return "\n".join("".join(f"| {cell} " if cell else "| " for cell in line) + "|" for line in lines)


if __name__ == "__main__":
    for name, text in tables().items():
        print(f"{name}\n\n{text}\n")
