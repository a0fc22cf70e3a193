"""Which configuration is the fastest for each batch of a shape?

Coarse to fine: a thin grid first (`space.coarse`), then the neighbours of the two best of each batch, and the
best of the batches beside it, round after round, until nothing new is found or time is up. What leads at the
end is compared with vLLM's own choice in turn, checked for equal results, and kept only if it is faster in
three rounds of four, and not slower under skewed routing.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton

from deploy.kernels import timing
from deploy.kernels.ahead import LATE, Compiler
from deploy.kernels.layer import Inputs, Layer, default_config, file_name, shipped_configs
from deploy.kernels.results import Timings, nearest, read_configs, table, write_configs
from deploy.kernels.shapes import Shape
from deploy.kernels.space import Config, coarse, neighbours

VERIFY_S = 25.0
"""Kept back for the last comparison of all batches."""
MAX_ROUNDS = 8
LATE_LOAD_S = 1.5
"""What loads a kernel takes longer only if it compiles."""
SKEW = 1.0
"""Zipf exponent of the routing that the winners are compared under once more."""

Row = dict[str, Any]


@dataclass
class Job:
    """One shape on this GPU: its layer, its inputs, and what they share."""

    shape: Shape
    batches: Sequence[int]
    layer: Layer
    inputs: dict[int, list[Inputs]]
    skewed: dict[int, list[Inputs]]

    @classmethod
    def make(cls, shape: Shape, batches: Sequence[int], seed: int) -> "Job":
        """Draw weights, tokens and routing."""
        layer = Layer(shape, max(batches), "cuda", seed)
        inputs, skewed = (
            {
                batch: [layer.inputs(batch, skew) for _ in range(timing.calls_a_graph(batch))]
                for batch in batches
            }
            for skew in (0.0, SKEW)
        )
        return cls(shape, batches, layer, inputs, skewed)

    def bytes_a_call(self, batch: int) -> float:
        """Mean bytes of the experts that a call reads, each once."""
        ids = [one.ids[one.ids < self.shape.local_experts].unique().numel() for one in self.inputs[batch]]
        return float(sum(ids) / len(ids) * self.shape.expert_bytes)


def tune(job: Job, compiler: Compiler, timings: Timings, out: Path, deadline: float) -> list[Row]:
    """Search, compare, and write vLLM's file of this shape to `out`; return a row a batch."""
    shape, batches = job.shape, job.batches
    target = out / file_name(shape)
    shipped = shipped_configs(shape)
    candidates = {
        batch: [
            default_config(shape, batch),
            *([nearest(shipped, batch)] if shipped else []),
            *coarse(shape, batch),
        ]
        for batch in batches
    }
    for turn in range(MAX_ROUNDS):
        until = deadline - VERIFY_S
        compiler.submit((shape, batch, config) for batch in batches for config in candidates[batch])
        compiler.wait((time.monotonic() + until) / 2)
        _time(job, candidates, compiler, timings, until)
        found = {batch: best[0] for batch in batches if (best := timings.best(shape, batch, 1))}
        write_configs(target, found, triton.__version__)
        say(
            f"{shape.name}: round {turn}, {sum(map(len, candidates.values()))} candidates, "
            f"{until - time.monotonic():.0f} s left"
            + (f"; compiled without workers: {compiler.broken}" if compiler.broken else "")
        )
        candidates = {batch: _next(shape, batches, place, timings) for place, batch in enumerate(batches)}
        if time.monotonic() > until or not any(candidates.values()):
            break
    rows, winners = [], {}
    for batch in batches:
        default = default_config(shape, batch)
        beside = [nearest(shipped, batch)] if shipped else []
        leaders = timings.best(shape, batch, 3)
        row, winners[batch] = guarded(job, batch, default, [*beside, *leaders], deadline)
        rows.append(row | {"shipped": str(beside[0]) if beside else None})
    write_configs(target, winners, triton.__version__)
    return rows


def check(job: Job, folder: Path, deadline: float) -> list[Row]:
    """Compare vLLM's file of this shape in `folder` with vLLM's own choice; OSError if there is no file."""
    configs = read_configs(folder / file_name(job.shape))
    return [
        guarded(job, batch, default_config(job.shape, batch), [nearest(configs, batch)], deadline, keep=True)[
            0
        ]
        for batch in job.batches
    ]


def guarded(
    job: Job, batch: int, default: Config, others: list[Config], deadline: float, keep: bool = False
) -> tuple[Row, Config]:
    """Compare; one batch that fails or comes too late is recorded, and keeps the default.

    `keep`: report the last of the others, even if it is not faster than the default.
    """
    if time.monotonic() > deadline:
        return {"batch": batch, "error": "no time left"}, others[-1] if others else default
    try:
        return _compare(job, batch, default, others, keep)
    except Exception as error:  # a kernel may fail in any way, the other batches go on
        say(f"{job.shape.name} batch {batch}: {error!r}")
        return {"batch": batch, "error": repr(error)[:300]}, default


def _compare(job: Job, batch: int, default: Config, others: list[Config], keep: bool) -> tuple[Row, Config]:
    inputs = job.inputs[batch]
    configs = list(dict.fromkeys([default, *others]))
    errors = [timing.error(job.layer, inputs[:2], config, default) for config in configs]
    configs = [config for config, off in zip(configs, errors, strict=True) if off <= timing.MAX_ERROR]
    results = timing.compare([timing.record(job.layer, inputs, config) for config in configs])
    place = max(range(len(configs)), key=lambda place: results[place].speed_up)
    if keep:
        place = len(configs) - 1
    elif results[place].low <= 1:
        place = 0
    winner, result = configs[place], results[place]
    skewed = timing.compare(
        [timing.record(job.layer, job.skewed[batch], config) for config in (default, winner)]
    )
    if skewed[1].speed_up < 1 and not keep:
        winner, result = default, results[0]
    read = job.bytes_a_call(batch)
    row = {
        "batch": batch,
        "default": str(default),
        "default us": round(results[0].us, 2),
        "tuned": str(winner),
        "tuned us": round(result.us, 2),
        "speed-up": round(result.speed_up, 3),
        "quartiles": f"{result.low:.3f}-{result.high:.3f}",
        "skewed": round(skewed[1].speed_up, 3),
        "GB/s": round(read / result.us / 1000),
        "expert bytes": round(read),
        "error": None,
        "largest difference": max(errors),
        "compared": {str(config): round(each.us, 2) for config, each in zip(configs, results, strict=True)},
    }
    return row, winner


def _time(
    job: Job,
    candidates: dict[int, list[Config]],
    compiler: Compiler,
    timings: Timings,
    until: float,
) -> None:
    """Time every candidate that is new, a batch in turn, so that time that runs out is missed by all."""
    for place in range(max(map(len, candidates.values()), default=0)):
        for batch in job.batches:
            if time.monotonic() > until:
                return
            if place < len(candidates[batch]):
                config = candidates[batch][place]
                if not timings.has(job.shape, batch, config):
                    _attempt(job, batch, config, compiler, timings)


def _attempt(job: Job, batch: int, config: Config, compiler: Compiler, timings: Timings) -> None:
    if error := compiler.error(job.shape, batch, config):
        if error != LATE:
            timings.add(job.shape, batch, config, None, error)
        return
    began = time.monotonic()
    try:
        graph = timing.record(job.layer, job.inputs[batch], config)
        loaded_s = time.monotonic() - began
        us = timing.quick_us(graph, timings.best_us(job.shape, batch))
    except Exception as error:  # out of registers or shared memory, or a compiler's fault
        timings.add(job.shape, batch, config, None, f"{type(error).__name__}: {str(error)[:200]}")
        torch.cuda.synchronize()  # raises if the GPU's state is lost: nothing after this would be true
        return
    timings.add(job.shape, batch, config, us, "compiled late" if loaded_s > LATE_LOAD_S else "")


def _next(shape: Shape, batches: Sequence[int], place: int, timings: Timings) -> list[Config]:
    """New candidates of a batch: around its two best, and the best of the batches beside it."""
    batch = batches[place]
    near = [config for best in timings.best(shape, batch, 2) for config in neighbours(best, shape, batch)]
    for other in batches[max(0, place - 1) : place + 2]:
        near += timings.best(shape, other, 1)
    return [config for config in dict.fromkeys(near) if not timings.has(shape, batch, config)]


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def show(shape: Shape, rows: list[Row]) -> None:
    """The table of one shape."""
    print(f"\n{shape.name}: E={shape.local_experts}, N={shape.width}\n{table(rows)}", flush=True)
