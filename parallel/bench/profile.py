"""Which kernels does a step spend its time in?

    python -m parallel profile --layout tp1 --layers 6 --concurrency 1 4 8 --out kernels.json
    python -m parallel profile --layout tp1 --layers 6 --draft-tokens 3 --acceptance 2.6 --out kernels.json
    python -m parallel profile --layout tp1 --layers 6 --concurrency 1 32 --prefill --out kernels.json

The engine runs in this process. For each number of requests, decode steps, or with --prefill the reading of
so many prompts at once, are timed by the clock without the profiler, and by kernel with it: what the two
differ by is the gaps between kernels, and the host. All layers are alike, so a few show what one costs.
"""

import argparse
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from parallel.bench import command
from parallel.bench.case import with_extra
from parallel.machine import machine
from parallel.results_file import write_json

STEPS = 48
WARM_STEPS = 16
READINGS = 4
"""Of as many prompts at once as there are requests, after two that are not timed."""
MOST_TOKENS = 1024
"""More than a request gets in all its steps."""
SHOWN = 40
NAME_LENGTH = 90

PARTS = (
    ("LM head", "nvjet_sm90_tst_(512x|320x128|192x192)"),
    ("routed experts", "fused_moe_kernel|moe_sum|act_and_mul|moe_align|count_and_sort"),
    ("projections and shared expert, FP8", "cutlass_3x_gemm_sm90_fp8|silu_slice"),
    ("attention", "FlashAttn|prepare_varlen|concat_and_cache"),
    ("projections absorbed into attention", "nvjet_(?!.*splitK)"),
    ("router", "splitK|topkGating"),
    ("quantising activations", "scaled_fp8_quant|clamp_mul_reciprocal_0|clamp_cutlass"),
    ("norms, rotary embedding", "triton_red|triton_poi"),
    ("sampling, bookkeeping", ""),
)
"""What a kernel works for, by the first pattern that its name has: those of vLLM 0.29 on Hopper."""


class Profiled:
    """An engine in this process, and steps of it."""

    def __init__(self, arguments: Mapping[str, Any], vocab: int, seed: int) -> None:
        from vllm import LLM

        self._engine = LLM(**arguments).llm_engine
        self._step_tokens = arguments["max_num_batched_tokens"]
        self._ids = range(vocab // 2, vocab)  # below are control tokens and bytes
        self._random = Random(seed)

    def steps(self, requests: int, prompt_tokens: int) -> dict[str, Any]:
        """Time decode steps of so many requests at once: by the clock, then by kernel."""
        names = self._add(requests, prompt_tokens, MOST_TOKENS)
        self._run(WARM_STEPS + requests * prompt_tokens // self._step_tokens)  # which reads all prompts
        row = self._timed(lambda: self._run(STEPS), STEPS)
        self._engine.abort_request(names)
        self._finish()
        return {"requests": requests} | row

    def readings(self, requests: int, prompt_tokens: int) -> dict[str, Any]:
        """Time the reading of so many prompts, all there at once: by the clock, then by kernel."""

        def read(times: int) -> None:
            for _ in range(times):
                self._add(requests, prompt_tokens, max_tokens=1)
                self._finish()

        read(2)
        return {"requests": requests} | self._timed(lambda: read(READINGS), READINGS)

    def _add(self, requests: int, prompt_tokens: int, max_tokens: int) -> list[str]:
        """Add requests and return their names."""
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0.0, max_tokens=max_tokens, ignore_eos=True, detokenize=False)
        names = [f"{requests}-{place}" for place in range(requests)]
        for name in names:
            prompt = {"prompt_token_ids": self._random.choices(self._ids, k=prompt_tokens)}
            self._engine.add_request(name, prompt, sampling)
        return names

    def _finish(self) -> None:
        while self._engine.has_unfinished_requests():
            self._engine.step()

    def _run(self, steps: int) -> None:
        for _ in range(steps):
            self._engine.step()

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
    command.add_options(parser)
    parser.add_argument(
        "--prefill", action="store_true", help="the reading of so many prompts, not decode steps"
    )


def main(options: argparse.Namespace) -> int:
    """Profile one engine. ValueError for options that name several, or none."""
    asked = command.cases(options)
    if len(asked) != 1 or asked[0].replicas * asked[0].plan.world_size != 1:
        raise ValueError(f"only one engine on one GPU is profiled, not {', '.join(one.key for one in asked)}")
    (case,) = asked
    target = command.target(options, asked)
    # The engine in this process, where the profiler is.
    os.environ |= case.environment(cuda=True) | dict(target.environment)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    arguments = case.arguments(model=target.model, draft=target.draft, dummy=target.dummy, cuda=True)
    arguments |= {"max_model_len": options.prompt + MOST_TOKENS, "max_num_seqs": max(options.concurrency)}
    arguments = with_extra(arguments, target.extra)
    engine = Profiled(arguments, target.params["vocab_size"], options.seed)
    work = engine.readings if options.prefill else engine.steps
    rows = [work(requests, options.prompt) for requests in options.concurrency]
    found = {"machine": machine(), "command": sys.argv, "arguments": arguments, "rows": rows}
    write_json(options.out, found)
    print(table(found))
    return 0
