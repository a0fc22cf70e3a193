"""How long does a step take, by how many drafts of how many requests it verifies?

    python -m parallel verify --layout tp1 --draft-tokens 5 --acceptance 2.6 --out verify.json

One engine, in this process, whose draft head proposes up to K tokens: from 0 to K are proposed and verified,
as a number of steps in a row. Each step is one CUDA graph (`vllm_plugin/draft_graphs.py`) and passes through
the head as often as it proposes (`draft_passes.py`), as where k adapts.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from parallel.bench import command
from parallel.bench.stepped import Stepped, start
from parallel.machine import command_line, machine
from parallel.results_file import write_json
from parallel.vllm_plugin import DRAFT_LENGTH, DRAFT_LENGTH_SCHEDULER

STEPS = 32
WARM_STEPS = 8
LEVELS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NEVER = 1_000_000_000
"""A window of so many steps does not end."""


def timed(engine: Stepped, requests: int, prompt_tokens: int, draft_tokens: int) -> dict[str, Any]:
    """Time steps that verify so many drafts of so many requests. ValueError if there were hardly any.

    `step_ms` is the median of steps of nothing else; `tokens_a_step` is of a request; `passes` go through the
    head, which keeps its cache also where nothing is to be verified.
    """
    engine.scheduler.hold(draft_tokens)
    names = engine.add(requests, prompt_tokens)
    engine.read(WARM_STEPS)
    engine.scheduler.seen()
    engine.step(STEPS)
    seen = engine.scheduler.seen()
    engine.drop(names)
    if seen.step_s is None or seen.num_sequences != requests:
        raise ValueError(f"{requests} requests, {draft_tokens} drafts: no steps of nothing else, but {seen}")
    accepted = sum(seen.accepted) / max(1, seen.tried[0])
    return {
        "requests": requests,
        "draft_tokens": draft_tokens,
        "passes": max(1, draft_tokens),
        "step_ms": 1e3 * seen.step_s,
        "tokens_a_step": 1 + accepted,
    }


def sizes(levels: Sequence[int], most: int) -> list[int]:
    """Tokens of all steps that verify up to so many drafts of each request."""
    return sorted({requests * length for requests in levels for length in range(1, most + 2)})


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: milliseconds of a step, by requests and verified drafts."""
    cells = {(row["requests"], row["draft_tokens"]): f"{row['step_ms']:.2f}" for row in rows}
    return by_drafts("ms a step, verifying", cells)


def by_drafts(heading: str, cells: Mapping[tuple[int, int], str]) -> str:
    """Return a Markdown table of cells by requests, a row each, and drafts, a column each."""
    lengths = sorted({draft_tokens for _, draft_tokens in cells})
    lines = [f"| {heading} | {' | '.join(map(str, lengths))} |", f"|---|{'---:|' * len(lengths)}"]
    lines += [
        f"| {requests} | {' | '.join(cells[requests, k] for k in lengths)} |"
        for requests in sorted({requests for requests, _ in cells})
    ]
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command may be told."""
    command.add_engine_options(parser)
    parser.set_defaults(concurrency=list(LEVELS))


def main(options: argparse.Namespace) -> int:
    """Time one engine. ValueError for options that name several, or one without a draft head."""
    if min(options.draft_tokens) < 1:
        raise ValueError(f"--draft-tokens={min(options.draft_tokens)} must be at least 1: there is no head")
    most = options.draft_tokens[0]
    engine, arguments = start(
        options,
        {
            "scheduler_cls": DRAFT_LENGTH_SCHEDULER,
            "additional_config": {DRAFT_LENGTH: {"adapt": {"window_steps": NEVER}}},
            "compilation_config": {"cudagraph_capture_sizes": sizes(options.concurrency, most)},
        },
    )
    found: dict[str, Any] = {
        "machine": machine(),
        "command": command_line("parallel"),
        "arguments": arguments,
        "params": engine.params,
        "prompt_tokens": options.prompt,
        "steps": WARM_STEPS + STEPS,
        "rows": [],
    }
    for requests in options.concurrency:
        for draft_tokens in range(most + 1):
            found["rows"].append(timed(engine, requests, options.prompt, draft_tokens))
        write_json(options.out, found)
    print(table(found["rows"]))
    return 0
