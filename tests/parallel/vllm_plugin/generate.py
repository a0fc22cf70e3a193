"""What does one engine answer? In a process of its own, so that its memory is free again afterwards.

Waves are lists of requests: those of one wave run together, and the next wave starts when all are done. A
request has `prompt` (token ids), `num_tokens`, and optionally `rank` (which data-parallel rank serves it) and
`sampling` (vLLM's parameters; greedy, and exactly as long as asked for, without). The answers hold, wave by
wave, `tokens`, `logprobs` and `experts` [tokens][layers][active] or null of each request, and why it was
`refused`, if it was; wave by wave `counters`, by how much the engine's Prometheus counters rose, summed over
ranks, `verify_steps`, how many steps had how many draft tokens, and `chosen`, how many tokens of all ranks
chose each expert [layers][experts]; and `needed`, the names of the fixes its configuration needs.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch

from parallel.vllm_plugin.fixes import FIXES, require


class Request(TypedDict, total=False):
    """What is asked of the engine."""

    prompt: list[int]
    num_tokens: int
    rank: int
    sampling: dict[str, Any]


Waves = list[list[Request]]


@dataclass(frozen=True)
class Job:
    """An engine, by vLLM's arguments and environment, and what is asked of it."""

    engine: dict[str, Any]
    environment: dict[str, str]
    waves: Waves
    start_method: Literal["fork", "spawn"]
    """How its processes begin. By "spawn", as vLLM has it on CPUs, each imports vLLM anew: 15 s of a core."""


class Answer(TypedDict):
    """What it answered."""

    tokens: list[int]
    logprobs: list[float]
    experts: list[list[list[int]]] | None
    refused: str | None


class Answers(TypedDict):
    """All answers of one engine."""

    waves: list[list[Answer]]
    counters: list[dict[str, float]]
    verify_steps: list[dict[str, float]]
    chosen: list[list[list[int]]]
    needed: list[str]


async def answer(engine: Any, name: str, request: Request) -> Answer:
    """The continuation of one prompt, or why there is none."""
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import RequestOutputKind

    sampling = SamplingParams(
        max_tokens=request["num_tokens"],
        logprobs=0,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **{"temperature": 0.0, "ignore_eos": True} | request.get("sampling", {}),
    )
    prompt = {"prompt_token_ids": request["prompt"]}
    try:
        async for result in engine.generate(prompt, sampling, name, data_parallel_rank=request.get("rank")):
            done = result.outputs[0]
    except VLLMValidationError as error:
        return {"tokens": [], "logprobs": [], "experts": None, "refused": str(error)}
    tokens = list(done.token_ids)
    logprobs = [of_token[token].logprob for of_token, token in zip(done.logprobs, tokens, strict=True)]
    experts = None if done.routed_experts is None else done.routed_experts.tolist()
    return {"tokens": tokens, "logprobs": logprobs, "experts": experts, "refused": None}


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


def rises(seen: list[dict[str, float]]) -> list[dict[str, float]]:
    """By how much each value rose from one reading to the next."""
    return [
        {name: num - before.get(name, 0.0) for name, num in after.items()} for before, after in pairwise(seen)
    ]


async def run(job: Job) -> Answers:
    """Start one engine, let it answer wave after wave, and stop it."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from parallel.vllm_plugin.expert_metrics import read

    config = AsyncEngineArgs(**job.engine).create_engine_config()
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = job.start_method
    engine = AsyncLLM.from_vllm_config(config)
    try:
        require(engine.vllm_config)
        answered: list[list[Answer]] = []
        counted, steps, counts = [counters()], [verify_steps()], [(await read(engine)).counts]
        for number, wave in enumerate(job.waves):
            requests = [answer(engine, f"{number}-{index}", request) for index, request in enumerate(wave)]
            answered.append(list(await asyncio.gather(*requests)))
            counted.append(counters())
            steps.append(verify_steps())
            counts.append((await read(engine)).counts)
        needed = [fix.name for fix in FIXES if fix.applies(engine.vllm_config)]
        return {
            "waves": answered,
            "counters": rises(counted),
            "verify_steps": rises(steps),
            "chosen": [(after - before).tolist() for before, after in pairwise(counts)],
            "needed": needed,
        }
    finally:
        engine.shutdown()


def main(job: Job, answers: Path, log: Path) -> None:
    """Do the job in this process, which then has no other use; what it says goes to `log`."""
    with log.open("w") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    os.environ |= job.environment
    torch.set_num_threads(1)  # more processes than cores: threads would only wait for one another
    answers.write_text(json.dumps(asyncio.run(run(job))))
