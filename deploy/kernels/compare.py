"""`python -m deploy.kernels.compare`: from which batch is another kernel of vLLM's faster for these experts?

    python -m deploy.kernels.compare --shape tp1 --out DIR [--files deploy/kernels]

Times Triton's kernel as vLLM configures it, with the tuned files of a folder if they have the shape, and
CUTLASS's grouped product, replayed in turn as `tune` does it. Needs vLLM and one GPU of Hopper's kind.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from deploy.kernels.results import nearest, read_configs, table
from deploy.kernels.shapes import SHAPES, Shape
from parallel.machine import clocks, machine
from parallel.results_file import write_json

BATCHES = (1, 8, 32, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)
"""Tokens of a step."""


def main(argv: list[str] | None = None) -> int:
    """Print a table a shape, and write `compare.json`."""
    options = _parser().parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    found: dict[str, Any] = {"machine": machine(), "seed": options.seed, "clocks before": clocks()}
    found["shapes"] = shapes = {}
    for name in options.shape:
        shapes[name] = rows = compared(SHAPES[name], options.batches, options.files, options.seed)
        print(f"\n{name}\n{table(rows, list(rows[0]))}", flush=True)
        write_json(options.out / "compare.json", found | {"clocks after": clocks()})
    return 0


def compared(shape: Shape, batches: list[int], files: Path | None, seed: int) -> list[dict[str, Any]]:
    """A row a batch: microseconds a call of each kernel, and CUTLASS's speed-up over vLLM's own choice."""
    from deploy.kernels import timing
    from deploy.kernels.cutlass import CutlassLayer
    from deploy.kernels.layer import Layer, default_config, file_name

    layer = Layer(shape, max(batches), "cuda", seed)
    cutlass = CutlassLayer(layer, max(batches))
    path = files / file_name(shape) if files else None
    tuned = read_configs(path) if path and path.exists() else {}
    rows = []
    for batch in batches:
        inputs = [layer.inputs(batch) for _ in range(timing.calls_a_graph(batch))]
        default = default_config(shape, batch)
        configs = [default, *([nearest(tuned, batch)] if tuned else [])]
        graphs = [timing.record(layer, inputs, config) for config in configs]
        results = timing.compare([*graphs, timing.record_calls(cutlass.run, inputs)])
        row: dict[str, Any] = {"batch": batch, "triton us": round(results[0].us, 1)}
        if tuned:
            row |= {"tuned": str(configs[1]), "tuned us": round(results[1].us, 1)}
        rows.append(
            row
            | {
                "cutlass us": round(results[-1].us, 1),
                "cutlass speed-up": round(results[-1].speed_up, 3),
                "quartiles": f"{results[-1].low:.3f}-{results[-1].high:.3f}",
                "TFLOP/s": round(_operations(shape, batch) / results[-1].us / 1e6),
                "difference": _difference(layer, cutlass, inputs[0], default),
            }
        )
    return rows


def _operations(shape: Shape, batch: int) -> float:
    """Multiplications and additions of a call; of this rank's share, where experts are divided."""
    return 2 * batch * shape.top_k * shape.local_experts / shape.experts * shape.expert_bytes


def _difference(layer: Any, cutlass: Any, inputs: Any, config: Any) -> float:
    """||cutlass - triton|| / ||triton||, from buffers that held NaN before."""
    layer.poison()
    cutlass.poison()
    mine, other = layer.run(inputs, config).float(), cutlass.run(inputs).float()
    return float((other - mine).norm() / mine.norm())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.kernels.compare", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--shape", nargs="+", choices=list(SHAPES), required=True, help="which layouts")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where compare.json is written"
    )
    parser.add_argument("--files", type=Path, metavar="DIR", help="tuned configurations to compare as well")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), metavar="TOKENS")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
