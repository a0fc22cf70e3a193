"""How is the pocket model made: the model's architecture at 1/5000 of its size, with seeded random weights?

    python -m deploy.pocket.build [--out DIR] [--if-missing] [--seed N]

writes `target/` (the model) and `eagle/` (its draft head) below DIR, in Mistral's native format. All that
`shape.py` says of the architecture is there in yet smaller sizes, so that an engine starts in seconds and the
files stay below 30 MB.

What it answers is noise, but useful noise: the next token depends on the prompt, control tokens are never
chosen except the end of the text (after about a hundred tokens), some experts are several times more popular
than others, and the draft head is right some of the time but not always.

Shape legend: V vocabulary, D width, E experts, F expert width, H heads, Q and C query and key-value latents,
N, R and A head widths without position, with position and of values, W vision width, P patch side.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import math
import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from deploy.pocket import shape as shape_module
from deploy.pocket.shape import END_OF_TEXT, Shape, target_params, text_params, write_tekken

Weights = dict[str, torch.Tensor]

STAMP = "build.json"
END_OF_TEXT_BOLDNESS = 1.6
"""Spread of the end-of-text logit in spreads of the others: it wins about once in a hundred tokens."""
FIRST_LAYER_GAIN = 1.0
LATER_LAYER_GAIN = 0.3
"""The draft head has the first layer only: the smaller this is, the more of its drafts are accepted."""


SHAPE = Shape(
    dim=128,
    n_layers=2,
    vocab_size=8192,
    q_lora_rank=64,
    expert_hidden_dim=64,
    vision_dim=64,
    vision_hidden_dim=128,
    vision_layers=2,
    draft_layers=1,
    draft_hidden_dim=512,
)


class Noise:
    """Seeded normal tensors: each depends on the seed and its own name, not on what was drawn before it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, name: str, *shape: int, std: float) -> torch.Tensor:
        """A float32 tensor of the given shape with mean 0 and the given standard deviation."""
        # NumPy's generator, because torch's values depend on the vector unit of the machine.
        generator = np.random.default_rng((self._seed, zlib.crc32(name.encode())))
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32) * np.float32(std))

    def linear(self, name: str, num_out: int, num_in: int, gain: float = 1.0) -> torch.Tensor:
        """A weight [num_out, num_in] that turns inputs of spread 1 into outputs of spread `gain`."""
        return self(name, num_out, num_in, std=gain / math.sqrt(num_in))


def layer_weights(shape: Shape, noise: Noise, index: int, gain: float) -> Weights:
    """One decoder layer, whose attention and experts each add about `gain` (rms) to the residual stream.

    Row 0 of what is added is 0: channel 0 of the residual carries a constant, see `target_weights`.
    Norms [D] [Q] [C]; attention [Q, D] [H(N+R), Q] [C+R, D] [H(N+A), C] [D, HA]; router [E, D];
    each expert, and the shared one, [F, D] [F, D] [D, F].
    """
    prefix = f"layers.{index}."
    dim, experts, hidden, heads = shape.dim, shape.num_experts, shape.expert_hidden_dim, shape.n_heads
    keys, values = heads * (shape.qk_nope_head_dim + shape.qk_rope_head_dim), heads * shape.v_head_dim
    latents = heads * (shape.qk_nope_head_dim + shape.v_head_dim)

    def linear(name: str, num_out: int, num_in: int, gain: float = 1.0) -> torch.Tensor:
        return noise.linear(prefix + name, num_out, num_in, gain)

    weights = {
        "attention_norm.weight": torch.ones(dim),
        "ffn_norm.weight": torch.ones(dim),
        "attention.q_a_norm.weight": torch.ones(shape.q_lora_rank),
        "attention.kv_a_norm.weight": torch.ones(shape.kv_lora_rank),
        "attention.wq_a.weight": linear("wq_a", shape.q_lora_rank, dim),
        # Twice the usual spread makes attention pick a few earlier tokens, not average over all.
        "attention.wq_b.weight": linear("wq_b", keys, shape.q_lora_rank, gain=2.0),
        "attention.wkv_a_with_mqa.weight": linear("wkv_a", shape.kv_lora_rank + shape.qk_rope_head_dim, dim),
        "attention.wkv_b.weight": linear("wkv_b", latents, shape.kv_lora_rank),
        "attention.wo.weight": silent_row(linear("wo", dim, values, gain=2 * gain)),
        "gate.weight": linear("gate", experts, dim),
    }
    weights["gate.weight"][:, 0] = noise(prefix + "popularity", experts, std=1.0)
    for expert in ["shared_experts", *(f"experts.{number}" for number in range(experts))]:
        weights[f"{expert}.w1.weight"] = linear(f"{expert}.w1", hidden, dim)
        weights[f"{expert}.w3.weight"] = linear(f"{expert}.w3", hidden, dim)
        weights[f"{expert}.w2.weight"] = silent_row(linear(f"{expert}.w2", dim, hidden, gain=2 * gain))
    return {prefix + name: weight for name, weight in weights.items()}


def silent_row(weight: torch.Tensor) -> torch.Tensor:
    """The same weight [D, any] with row 0 set to 0, so that it adds nothing to channel 0."""
    weight[0] = 0.0
    return weight


def vision_weights(shape: Shape, noise: Noise) -> Weights:
    """The vision tower [W, 3, P, P] and layers, the patch merger [W, 4W] and the adapter [D, W] [D, D]."""
    width, hidden, patch = shape.vision_dim, shape.vision_hidden_dim, shape.patch_size
    linear = noise.linear
    pixels = 3 * patch * patch
    merged = width * shape.merge_size**2
    weights = {
        "vision_encoder.patch_conv.weight": linear("patch_conv", width, pixels).view(width, 3, patch, patch),
        "vision_encoder.ln_pre.weight": torch.ones(width),
        "pre_mm_projector_norm.weight": torch.ones(width),
        "patch_merger.merging_layer.weight": linear("merging_layer", width, merged),
        "vision_language_adapter.w_in.weight": linear("adapter.w_in", shape.dim, width),
        "vision_language_adapter.w_out.weight": linear("adapter.w_out", shape.dim, shape.dim, gain=2.0),
    }
    for index in range(shape.vision_layers):
        prefix = f"vision_encoder.transformer.layers.{index}."
        weights[prefix + "attention_norm.weight"] = torch.ones(width)
        weights[prefix + "ffn_norm.weight"] = torch.ones(width)
        for name in ("wq", "wk", "wv", "wo"):
            weights[f"{prefix}attention.{name}.weight"] = linear(prefix + name, width, width)
        weights[prefix + "feed_forward.w1.weight"] = linear(prefix + "w1", hidden, width)
        weights[prefix + "feed_forward.w3.weight"] = linear(prefix + "w3", hidden, width)
        weights[prefix + "feed_forward.w2.weight"] = linear(prefix + "w2", width, hidden)
    return weights


def target_weights(shape: Shape, seed: int) -> Weights:
    """The whole model in bfloat16: embeddings and head [V, D], decoder layers, final norm [D], vision tower.

    Channel 0 of every embedding is 1 and no layer changes it, so column 0 of the head is a bias: strongly
    negative for control tokens, which would otherwise end up in every eighth place of an answer.
    """
    noise = Noise(seed)
    embeddings = noise("tok_embeddings", shape.vocab_size, shape.dim, std=1.0)
    embeddings[:, 0] = 1.0
    head = noise("output", shape.vocab_size, shape.dim, std=3.0 / math.sqrt(shape.dim))
    head[:, 0] = 0.0
    head[END_OF_TEXT] *= END_OF_TEXT_BOLDNESS
    for token in range(shape.num_control_tokens):
        if token != END_OF_TEXT:
            head[token, 0] = -40.0
    weights = {
        "tok_embeddings.weight": embeddings,
        "output.weight": head,
        "norm.weight": torch.ones(shape.dim),
    }
    for index in range(shape.n_layers):
        gain = FIRST_LAYER_GAIN if index == 0 else LATER_LAYER_GAIN
        weights |= layer_weights(shape, noise, index, gain)
    weights |= vision_weights(shape, noise)
    return {name: weight.to(torch.bfloat16) for name, weight in weights.items()}


def draft_weights(shape: Shape, target: Weights) -> Weights:
    """A draft head of one layer that predicts as the target would if it stopped after its first layer.

    The fusing weight [D, 2D] passes the next token's embedding and ignores the target's hidden state.
    """
    fuse = torch.zeros(shape.dim, 2 * shape.dim, dtype=torch.bfloat16)
    fuse[:, : shape.dim] = torch.eye(shape.dim)
    first_layer = {name: weight.clone() for name, weight in target.items() if name.startswith("layers.0.")}
    return first_layer | {"eagle_linear.weight": fuse, "norm.weight": target["norm.weight"].clone()}


def stamp(shape: Shape, seed: int) -> dict[str, Any]:
    """What the files depend on: sizes, seed, the scripts and the tokenizer's source."""
    scripts = b"".join(Path(file).read_bytes() for file in (__file__, shape_module.__file__))
    return {
        "shape": asdict(shape),
        "seed": seed,
        "scripts": hashlib.sha256(scripts).hexdigest(),
        "mistral_common": version("mistral-common"),
    }


def is_built(out: Path, shape: Shape, seed: int) -> bool:
    """Whether `out` holds both checkpoints as this script would write them now."""
    wanted = stamp(shape, seed)
    stamps = [out / name / STAMP for name in ("target", "eagle")]
    return all(path.exists() and json.loads(path.read_text()) == wanted for path in stamps)


def write_checkpoint(
    folder: Path, params: dict[str, Any], weights: Weights, built_from: dict[str, Any]
) -> None:
    """Write one checkpoint into a new folder."""
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params, indent=2) + "\n")
    file = folder / "consolidated.safetensors"
    save_file(weights, file)
    file.chmod(0o644)  # safetensors leaves it readable to its owner only
    (folder / STAMP).write_text(json.dumps(built_from, indent=2) + "\n")


def put_in_place(new: Path, place: Path) -> None:
    """Move a finished folder to its place, where another may be."""
    old = new.with_name(new.name + ".old")
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def sole_builder(out: Path) -> Iterator[Path]:
    """Wait until no other process builds into `out`; then own an empty scratch folder there until the end."""
    scratch = out / "build"
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        work = scratch / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        yield work
        shutil.rmtree(work)


def build(out: Path, *, if_missing: bool = False, shape: Shape = SHAPE, seed: int = 0) -> bool:
    """Write `target/` and `eagle/` below `out`, with `if_missing` only where needed; whether it wrote."""
    if if_missing and is_built(out, shape, seed):
        return False
    with sole_builder(out) as work:
        if if_missing and is_built(out, shape, seed):
            return False
        target = target_weights(shape, seed)
        write_checkpoint(work / "target", target_params(shape), target, stamp(shape, seed))
        write_tekken(shape, work / "target" / "tekken.json")
        draft = text_params(shape, shape.draft_layers, dense_layers=0)
        write_checkpoint(work / "eagle", draft, draft_weights(shape, target), stamp(shape, seed))
        for name in ("target", "eagle"):
            put_in_place(work / name, out / name)
    return True


def main(argv: Sequence[str] | None = None) -> None:
    """Build from the command line and say what is there."""
    parser = argparse.ArgumentParser(description="Build the pocket model and its draft head.")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent, help="default: %(default)s"
    )
    parser.add_argument(
        "--if-missing", action="store_true", help="return at once if they are there and current"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(argv)
    written = build(options.out, if_missing=options.if_missing, seed=options.seed)
    size_bytes = sum(
        file.stat().st_size for name in ("target", "eagle") for file in (options.out / name).iterdir()
    )
    print(f"{options.out}: {'built' if written else 'is current'}, {size_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
