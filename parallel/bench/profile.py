"""Which kernels does a step spend its time in?

    python -m parallel profile --layout tp1 --layers 6 --concurrency 1 4 8 --out kernels.json
    python -m parallel profile --layout tp1 --layers 6 --draft-tokens 3 --acceptance 2.6 --out kernels.json
    python -m parallel profile --layout tp1 --layers 6 --concurrency 1 32 --prefill --out kernels.json

The engine runs in this process. For each number of requests, decode steps, or with --prefill the reading of
so many prompts at once, are timed by the clock without the profiler, and by kernel with it: what the two
differ by is the gaps between kernels, and the host. All layers are alike, so a few show what one costs.
"""

import argparse
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from parallel.bench import command
from parallel.bench.stepped import Stepped, start
from parallel.machine import command_line, machine
from parallel.results_file import write_json

STEPS = 48
WARM_STEPS = 16
READINGS = 4
"""Of as many prompts at once as there are requests, after two that are not timed."""
SHOWN = 40
NAME_LENGTH = 90

PARTS = (
    ("LM head", "nvjet_sm90_tst_(512x|320x128|192x192)"),
    ("routed experts", "fused_moe_kernel|marlin_moe|moe_sum|act_and_mul|moe_align|count_and_sort"),
    ("projections and shared expert, FP8", "cutlass_3x_gemm_sm90_fp8|silu_slice|marlin::Marlin"),
    ("attention", "FlashAttn|prepare_varlen|concat_and_cache"),
    ("projections absorbed into attention", "nvjet_(?!.*splitK)"),
    ("router", "splitK|topkGating"),
    ("quantising activations", "scaled_fp8_quant|clamp_mul_reciprocal_0|clamp_cutlass"),
    ("norms, rotary embedding", "triton_red|triton_poi"),
    ("sampling, bookkeeping", ""),
)
"""What a kernel works for, by the first pattern that its name has: those of vLLM 0.29 on Hopper."""


class Profiled:
    """An engine whose steps are timed by the clock, then by kernel."""

    def __init__(self, engine: Stepped) -> None:
        self._engine = engine

    def steps(self, requests: int, prompt_tokens: int) -> dict[str, Any]:
        """Time decode steps of so many requests at once."""
        names = self._engine.add(requests, prompt_tokens)
        self._engine.read(WARM_STEPS)
        row = self._timed(lambda: self._engine.step(STEPS), STEPS)
        self._engine.drop(names)
        return {"requests": requests} | row

    def readings(self, requests: int, prompt_tokens: int) -> dict[str, Any]:
        """Time the reading of so many prompts, all there at once."""

        def read(times: int) -> None:
            for _ in range(times):
                self._engine.add(requests, prompt_tokens, max_tokens=1)
                self._engine.finish()

        read(2)
        return {"requests": requests} | self._timed(lambda: read(READINGS), READINGS)

    def _timed(self, work: Callable[[], None], parts: int) -> dict[str, Any]:
        """Time one of so many equal parts of some work."""
        import torch
        from torch.autograd import DeviceType
        from torch.profiler import ProfilerActivity, profile

        torch.cuda.synchronize()
        began_s = time.perf_counter()
        work()
        torch.cuda.synchronize()
        clock_us = 1e6 * (time.perf_counter() - began_s) / parts
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            work()
            torch.cuda.synchronize()
        found: dict[str, list[float]] = defaultdict(list)
        for event in profiler.events():
            if event.device_type == DeviceType.CUDA:
                found[event.name].append(event.time_range.elapsed_us())
        kernels = [
            {"kernel": name, "calls": len(each) / parts, "us": sum(each) / parts}
            for name, each in found.items()
        ]
        return {
            "clock_us": clock_us,
            "kernel_us": sum(one["us"] for one in kernels),
            "kernels": sorted(kernels, key=lambda row: -row["us"]),
        }


def parts(row: Mapping[str, Any]) -> dict[str, float]:
    """Microseconds of a step by what they go into."""
    found = dict.fromkeys((name for name, _ in PARTS), 0.0)
    for kernel in row["kernels"]:
        found[next(name for name, pattern in PARTS if re.search(pattern, kernel["kernel"]))] += kernel["us"]
    return found


def parts_table(found: Mapping[str, Any]) -> str:
    """Return a Markdown table of what a step goes into, by number of requests."""
    rows = found["rows"]
    columns = [parts(row) for row in rows]
    lines = [
        f"| us a step, requests: | {' | '.join(str(row['requests']) for row in rows)} |",
        f"|---|{'---:|' * len(rows)}",
        *(f"| {name} | {' | '.join(f'{column[name]:.0f}' for column in columns)} |" for name, _ in PARTS),
        f"| all kernels | {' | '.join(f'{sum(column.values()):.0f}' for column in columns)} |",
    ]
    return "\n".join(lines)


def table(found: Mapping[str, Any]) -> str:
    """Return Markdown tables: what steps go into, and for each number of requests the longest kernels."""
    lines = [parts_table(found)]
    for row in found["rows"]:
        took = f"a step takes {row['clock_us']:.0f} us, its kernels {row['kernel_us']:.0f} us"
        lines += [
            f"\n{row['requests']} requests: {took}\n",
            "| kernel | calls a step | us a call | us a step |",
        ]
        lines += ["|---|---:|---:|---:|"]
        for one in row["kernels"][:SHOWN]:
            cells = f"{one['calls']:.1f} | {one['us'] / one['calls']:.2f} | {one['us']:.1f}"
            lines.append(f"| `{one['kernel'][:NAME_LENGTH]}` | {cells} |")
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command may be told."""
    command.add_engine_options(parser)
    parser.add_argument(
        "--prefill", action="store_true", help="the reading of so many prompts, not decode steps"
    )


def main(options: argparse.Namespace) -> int:
    """Profile one engine. ValueError for options that name several, or none."""
    stepped, arguments = start(options, {})
    engine = Profiled(stepped)
    work = engine.readings if options.prefill else engine.steps
    rows = [work(requests, options.prompt) for requests in options.concurrency]
    found = {"machine": machine(), "command": command_line("parallel"), "arguments": arguments, "rows": rows}
    write_json(options.out, found)
    print(table(found))
    return 0
