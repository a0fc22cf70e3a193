"""What does counting experts cost a step?

    python -m tests.bench.counter_cost [--steps N] [--json FILE]

One engine decodes batches with the pocket model; its worker counts in every second step, and times the
forward pass of all. What is printed is the median ratio of two steps in a row, with and without, by batch
size: neighbours share whatever else the machine is doing.
"""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from parallel.vllm_plugin.expert_counter import Capture, CountingWorker, attach
from tests.bench.pocket import pocket_engine

RESULTS = Path(__file__).parent / "results" / "counter_cost.json"
BATCHES = (1, 8, 64)
TOKENS = 1001
"""Of each answer; odd, so that each time other steps are those that count."""


class SwitchingWorker(CountingWorker):
    """A worker that counts in every second step, and times them all."""

    _counts = True

    def initialize_from_config(self, kv_cache_config: Any) -> None:
        """Put a switch in front of every layer's counter."""
        super().initialize_from_config(kv_cache_config)
        self._took_s: list[tuple[int, bool, float]] = []
        counter = self._expert_counter
        for number, layer in enumerate(counter.layers):
            layer._quant_method.moe_kernel.impl.fused_experts.set_capture_fn(None)
            attach(layer, self._switched(counter.adder(number)))

    def _switched(self, add: Capture) -> Capture:
        return lambda chosen: add(chosen) if self._counts else None

    def execute_model(self, scheduler_output: Any) -> Any:
        """Time one step, then change over."""
        began_s = time.perf_counter()
        output = super().execute_model(scheduler_output)
        took_s = time.perf_counter() - began_s
        self._took_s.append((scheduler_output.total_num_scheduled_tokens, self._counts, took_s))
        self._counts = not self._counts
        return output

    def steps(self) -> list[tuple[int, bool, float]]:
        """Tokens, whether they were counted, and seconds of each step since the last call."""
        found, self._took_s = self._took_s, []
        return found


def main() -> None:
    """Print the ratios and write them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--steps", type=int, default=2000, help="for each batch size (default 2000)")
    options.add_argument("--json", type=Path, default=RESULTS)
    given = options.parse_args()
    llm = pocket_engine(max_num_seqs=max(BATCHES), worker_cls="tests.bench.counter_cost.SwitchingWorker")
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=1, max_tokens=TOKENS, ignore_eos=True)
    rows = []
    print("| batch | steps | step without (ms) | with / without, median |\n|---:|---:|---:|---:|")
    for batch in BATCHES:
        llm.collective_rpc("steps")
        steps: list[tuple[int, bool, float]] = []
        while len(steps) < given.steps:
            prompts = [{"prompt_token_ids": [1, 1000 + number, 2000, 3000]} for number in range(batch)]
            llm.generate(prompts, sampling, use_tqdm=False)
            steps += [step for step in llm.collective_rpc("steps")[0] if step[0] == batch]
        rows.append(row(batch, steps))
        print("| {batch} | {steps} | {step_ms} | {ratio} |".format(**rows[-1]), flush=True)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    given.json.write_text(json.dumps({"date": date, "rows": rows}, indent=1) + "\n")


def row(batch: int, steps: list[tuple[int, bool, float]]) -> dict[str, Any]:
    """The median ratio of neighbours, one of which counts."""
    ratios = []
    for (_, counts, took_s), (_, also, next_s) in zip(steps[::2], steps[1::2], strict=False):
        if counts != also:
            ratios.append(took_s / next_s if counts else next_s / took_s)
    without = median(took_s for _, counts, took_s in steps if not counts)
    return {
        "batch": batch,
        "steps": len(steps),
        "step_ms": round(without * 1e3, 3),
        "ratio": round(median(ratios), 4),
    }


if __name__ == "__main__":
    main()
