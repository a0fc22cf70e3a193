"""How does a trained run become checkpoints in the native format?

    python -m deploy.pocket.export RUN [--out DIR]

writes DIR/target and DIR/eagle (params.json, consolidated.safetensors, and the target's tekken.json), weights
in bfloat16. DIR is this folder if it is not given.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from deploy.pocket.eagle import HEAD
from deploy.pocket.native import WEIGHTS, Weights, native
from deploy.pocket.shape import Shape, draft_params, target_params, write_tekken
from deploy.pocket.train import CHECKPOINT


def write(folder: Path, params: dict[str, Any], weights: Weights) -> None:
    """Write one checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.json").write_text(json.dumps(params, indent=2) + "\n")
    file = folder / WEIGHTS
    save_file(native(weights), file)
    file.chmod(0o644)  # safetensors leaves it readable to its owner only


def export(run: Path, out: Path) -> None:
    """Write the target of a run, and its draft head if it has one."""
    state = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    shape = Shape(**state["shape"])
    write(out / "target", target_params(shape), state["model"])
    write_tekken(shape, out / "target" / "tekken.json")
    if (run / HEAD).exists():
        head = torch.load(run / HEAD, map_location="cpu", weights_only=True)
        write(out / "eagle", draft_params(shape), head)


def main(argv: Sequence[str] | None = None) -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description="Write a trained run in the native format.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args(argv)
    export(options.run, options.out)
    size_bytes = sum(file.stat().st_size for file in options.out.glob(f"*/{WEIGHTS}"))
    print(f"{options.out}: {size_bytes / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    main()
