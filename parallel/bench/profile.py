"""Which kernels does a decode step spend its time in?

    python -m parallel profile --layout tp1 --layers 6 --concurrency 1 4 8 --out kernels.json
    python -m parallel profile --layout tp1 --layers 6 --draft-tokens 3 --acceptance 2.6 --out kernels.json

The engine runs in this process. For each number of requests, steps are timed by the clock without the
profiler, and by kernel with it: what the two differ by is the gaps between kernels, and the host. All layers
are alike, so a few of them show what one costs.
"""

import argparse
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from random import Random
from typing import Any

from parallel.bench import command
from parallel.bench.case import with_extra
from parallel.machine import machine
from parallel.results_file import write_json

STEPS = 48
WARM_STEPS = 16
MOST_TOKENS = 1024
"""More than a request gets in all its steps."""
SHOWN = 40
NAME_LENGTH = 90

PARTS = (
    ("LM head", "nvjet_sm90_tst_512x"),
    ("routed experts", "fused_moe_kernel|moe_sum|act_and_mul|moe_align|count_and_sort"),
    ("projections and shared expert, FP8", "cutlass_3x_gemm_sm90_fp8|silu_slice"),
    ("attention", "FlashAttn|prepare_varlen|concat_and_cache"),
    ("projections absorbed into attention", "nvjet_.*_bz_[TN]NT"),
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
        self._ids = range(vocab // 2, vocab)  # below are control tokens and bytes
        self._random = Random(seed)

    def steps(self, requests: int, prompt_tokens: int) -> dict[str, Any]:
        """Time decode steps of so many requests at once: by the clock, then by kernel."""
        names = self._begin(requests, prompt_tokens)
        began_s = time.perf_counter()
        self._run(STEPS)
        clock_us = 1e6 * (time.perf_counter() - began_s) / STEPS
        kernels = self._by_kernel()
        self._engine.abort_request(names)
        while self._engine.has_unfinished_requests():
            self._engine.step()
        return {
            "requests": requests,
            "clock_us": clock_us,
            "kernel_us": sum(one["us"] for one in kernels),
            "kernels": kernels,
        }

    def _begin(self, requests: int, prompt_tokens: int) -> list[str]:
        """Add requests, read all their prompts, and return their names."""
        from vllm import SamplingParams

        sampling = SamplingParams(temperature=0.0, max_tokens=MOST_TOKENS, ignore_eos=True, detokenize=False)
        names = [f"{requests}-{place}" for place in range(requests)]
        for name in names:
            prompt = {"prompt_token_ids": self._random.choices(self._ids, k=prompt_tokens)}
            self._engine.add_request(name, prompt, sampling)
        self._run(WARM_STEPS)
        return names

    def _run(self, steps: int) -> None:
        import torch

        for _ in range(steps):
            self._engine.step()
        torch.cuda.synchronize()

    def _by_kernel(self) -> list[dict[str, Any]]:
        from torch.autograd import DeviceType
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            self._run(STEPS)
        found: dict[str, list[float]] = defaultdict(list)
        for event in profiler.events():
            if event.device_type == DeviceType.CUDA:
                found[event.name].append(event.time_range.elapsed_us())
        rows = [
            {"kernel": name, "calls": len(each) / STEPS, "us": sum(each) / STEPS}
            for name, each in found.items()
        ]
        return sorted(rows, key=lambda row: -row["us"])


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
    rows = [engine.steps(requests, options.prompt) for requests in options.concurrency]
    found = {"machine": machine(), "command": sys.argv, "arguments": arguments, "rows": rows}
    write_json(options.out, found)
    print(table(found))
    return 0
