"""`python -m deploy.kernels.tune`: tuned configurations of vLLM's expert kernel for this model, on this GPU.

    python -m deploy.kernels.tune --shape tp1 --gpu-out DIR --budget-s 400
    python -m deploy.kernels.tune --shape all --gpu-out DIR --budget-s 560
    python -m deploy.kernels.tune --shape tp1 --gpu-out DIR --check deploy/kernels

deploy/kernels/README.md says what is searched and how it is timed. Needs vLLM and one GPU.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from deploy.kernels.ahead import Compiler
from deploy.kernels.results import Timings
from deploy.kernels.shapes import BATCHES, SHAPES, Shape
from deploy.kernels.space import VALUES, coarse
from parallel.machine import clocks, machine
from parallel.results_file import write_json


def main(argv: list[str] | None = None) -> int:
    """Tune or check the shapes in turn; return 1 if one of them could not be done at all."""
    started = time.monotonic()
    options = _parser().parse_args(argv)
    shapes = list(SHAPES.values()) if "all" in options.shape else [SHAPES[name] for name in options.shape]
    options.gpu_out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    compiler = Compiler(0 if options.check else options.workers)
    try:
        if not options.check:
            # The workers import vLLM and compile while this process imports it.
            compiler.submit(
                (shapes[0], batch, config) for batch in options.batches for config in coarse(shapes[0], batch)
            )
        return _run(shapes, options, compiler, started + options.budget_s)
    finally:
        compiler.close()


def _run(shapes: list[Shape], options: argparse.Namespace, compiler: Compiler, end: float) -> int:
    import torch

    from deploy.kernels import layer, search, timing

    gpu = torch.cuda.get_device_name()
    timings = Timings(options.gpu_out / "timings.jsonl", gpu)
    target = options.gpu_out / ("check.json" if options.check else "tuning.json")
    found: dict[str, Any] = _earlier(target) | {
        "machine": machine(),
        "copy_bytes_per_s": timing.copy_bytes_per_s(),
        "seed": options.seed,
        "method": {
            "space": VALUES,
            "calls a graph": {batch: timing.calls_a_graph(batch) for batch in options.batches},
            "routing": "uniform; skewed: Zipf exponent " + str(search.SKEW),
        },
        "clocks before": clocks(),
    }
    rows = found.setdefault("shapes", {})
    failed = False
    for place, shape in enumerate(shapes):
        now = time.monotonic()
        # The first shape compiles what the others find compiled: sizes are no part of Triton's key.
        shares = len(shapes) - place + (place == 0 and len(shapes) > 1)
        deadline = now + (end - now) / shares * (1 + (shares > len(shapes) - place))
        try:
            job = search.Job.make(shape, options.batches, options.seed)
            found[f"error against float32, {shape.name}"] = timing.reference_error(
                job.layer, job.layer.inputs(8), layer.default_config(shape, 8)
            )
            if options.check:
                rows[shape.name] = search.check(job, options.check, deadline)
            else:
                rows[shape.name] = search.tune(job, compiler, timings, options.gpu_out, deadline)
            search.show(shape, rows[shape.name])
            del job
            torch.cuda.empty_cache()
        except Exception as error:  # one shape that fails must not cost the others
            failed = True
            rows[shape.name] = [{"error": repr(error)[:500]}]
            search.say(f"{shape.name}: {error!r}")
        write_json(target, found | {"clocks after": clocks()})
    return int(failed)


def _earlier(path: Path) -> dict[str, Any]:
    """What a run before this one has found, of other shapes."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.kernels.tune", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--shape", nargs="+", choices=[*SHAPES, "all"], required=True, help="which layouts")
    parser.add_argument(
        "--gpu-out", type=Path, required=True, metavar="DIR", help="where results are written"
    )
    parser.add_argument(
        "--budget-s", type=float, default=400, help="seconds for all shapes, imports included"
    )
    parser.add_argument("--check", type=Path, metavar="DIR", help="re-time the files in DIR, tune nothing")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), help="instead of all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="processes that compile"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
