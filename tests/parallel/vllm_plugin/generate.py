"""What does one engine answer? Run as a script, so that its memory is free again when the answers are there.

    python generate.py JOB.json ANSWERS.json

JOB holds `engine`, the keyword arguments of vLLM's engine, and `waves`, a list of lists of requests: those of
one wave run together, and the next wave starts when all are done. A request has `prompt` (token ids),
`num_tokens`, and optionally `rank` (which data-parallel rank serves it) and `temperature` (0 if not given).
ANSWERS holds, wave by wave, `tokens`, `logprobs` and `experts` [tokens][layers][active] or null of each
request; `counters`, the engine's Prometheus counters summed over ranks; `verify_steps`, wave by wave how
many steps had how many draft tokens; `chosen`, wave by wave how many tokens of all ranks chose each expert
[layers][experts]; and `needed`, the names of the fixes its configuration needs.
"""

import asyncio
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

from parallel.vllm_plugin.fixes import FIXES, require


class Request(TypedDict, total=False):
    """What is asked of the engine."""

    prompt: list[int]
    num_tokens: int
    rank: int
    temperature: float


class Answer(TypedDict):
    """What it answered."""

    tokens: list[int]
    logprobs: list[float]
    experts: list[list[list[int]]] | None


class Answers(TypedDict):
    """All answers of one engine."""

    waves: list[list[Answer]]
    counters: dict[str, float]
    verify_steps: list[dict[str, float]]
    chosen: list[list[list[int]]]
    needed: list[str]


async def answer(engine: Any, name: str, request: Request) -> Answer:
    """The continuation of one prompt, exactly as long as asked for."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = SamplingParams(
        temperature=request.get("temperature", 0.0),
        max_tokens=request["num_tokens"],
        ignore_eos=True,
        logprobs=0,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    prompt = {"prompt_token_ids": request["prompt"]}
    async for result in engine.generate(prompt, sampling, name, data_parallel_rank=request.get("rank")):
        done = result.outputs[0]
    tokens = list(done.token_ids)
    logprobs = [of_token[token].logprob for of_token, token in zip(done.logprobs, tokens, strict=True)]
    experts = None if done.routed_experts is None else done.routed_experts.tolist()
    return {"tokens": tokens, "logprobs": logprobs, "experts": experts}


def counters() -> dict[str, float]:
    """The engine's counters by name, summed over their labels."""
    from vllm.v1.metrics.reader import Counter, get_metrics_snapshot

    totals: dict[str, float] = {}
    for metric in get_metrics_snapshot():
        if isinstance(metric, Counter):
            totals[metric.name] = totals.get(metric.name, 0.0) + metric.value
    return totals


def verify_steps() -> dict[str, float]:
    """Steps by number of draft tokens, where that number changes."""
    from prometheus_client import REGISTRY

    return {
        sample.labels["draft_tokens"]: sample.value
        for family in REGISTRY.collect()
        if family.name == "venturi_verify_steps"
        for sample in family.samples
        if sample.name == "venturi_verify_steps_total"
    }


async def run(engine_args: dict[str, Any], waves: list[list[Request]]) -> Answers:
    """Start one engine, let it answer wave after wave, and stop it."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from parallel.vllm_plugin.expert_metrics import read

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_args))
    try:
        require(engine.vllm_config)
        answered, steps, counts = [], [verify_steps()], [(await read(engine)).counts]
        for number, wave in enumerate(waves):
            requests = [answer(engine, f"{number}-{index}", request) for index, request in enumerate(wave)]
            answered.append(list(await asyncio.gather(*requests)))
            steps.append(verify_steps())
            counts.append((await read(engine)).counts)
        needed = [fix.name for fix in FIXES if fix.applies(engine.vllm_config)]
        new_steps = [
            {k: num - before.get(k, 0.0) for k, num in after.items()} for before, after in pairwise(steps)
        ]
        return {
            "waves": answered,
            "counters": counters(),
            "verify_steps": new_steps,
            "chosen": [(after - before).tolist() for before, after in pairwise(counts)],
            "needed": needed,
        }
    finally:
        engine.shutdown()


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(run(job["engine"], job["waves"]))))
