"""Are exported checkpoints what the native format wants, weight by weight, and small enough to be cloned?"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from deploy.pocket.eagle import HEAD
from deploy.pocket.export import export, main, write
from deploy.pocket.model import DraftHead, PocketModel
from deploy.pocket.native import load, native
from deploy.pocket.shape import Shape, draft_params, target_params
from deploy.pocket.train import Recipe, Trainer
from parallel.memory import WeightFormat, checkpoint_bytes
from parallel.model_shape import ModelShape, Part
from tests.deploy.pocket.test_model import one_thread as one_thread
from tests.deploy.pocket.test_shape import SMALL, TINY
from tests.parallel.test_model_shape import part_of, stored_sizes

MB = 10**6
NAMES = ("target", "eagle")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both checkpoints of the full shape, untrained."""
    folder, shape = tmp_path_factory.mktemp("full"), Shape()
    write(folder / "target", target_params(shape), PocketModel(shape).state_dict())
    write(folder / "eagle", draft_params(shape), DraftHead(shape).state_dict())
    return folder


@pytest.mark.parametrize(("name", "limit_bytes"), [("target", 45 * MB), ("eagle", 10 * MB)])
def test_checkpoints_are_small(full: Path, name: str, limit_bytes: int) -> None:
    """The full shape's files are what its parameters say, to the byte, and small enough for a clone."""
    file = full / name / "consolidated.safetensors"
    assert file.stat().st_size <= limit_bytes
    with file.open("rb") as stream:
        header_bytes = 8 + int.from_bytes(stream.read(8), "little")
    counted = checkpoint_bytes(ModelShape.read(full / name, draft=name == "eagle"), WeightFormat.BF16)
    assert counted.total_bytes == file.stat().st_size - header_bytes


@pytest.mark.parametrize("name", NAMES)
def test_parts_have_the_sizes_that_the_parameters_say(full: Path, name: str) -> None:
    """Attention, experts, router, tower and the rest each hold as many elements as planning counts."""
    stored: Counter[Part] = Counter()
    for tensor, num_elements in stored_sizes(full / name).items():
        stored[part_of(tensor)] += num_elements
    counted: Counter[Part] = Counter()
    for weight in ModelShape.read(full / name, draft=name == "eagle").weights():
        counted[weight.part] += weight.total_elements
    assert stored == counted


def shapes(model: nn.Module) -> dict[str, list[int]]:
    """Names and shapes of the exported weights."""
    return {name: list(weight.shape) for name, weight in native(model.state_dict()).items()}


def attention_shapes(layer: int) -> dict[str, list[int]]:
    """Those of one layer's attention and norms, of the small shape."""
    parts = {
        "attention.wq_a": [24, 32],
        "attention.q_a_norm": [24],
        "attention.wq_b": [2 * (12 + 16), 24],
        "attention.wkv_a_with_mqa": [44 + 16, 32],
        "attention.kv_a_norm": [44],
        "attention.wkv_b": [2 * (12 + 20), 44],
        "attention.wo": [32, 2 * 20],
        "attention_norm": [32],
        "ffn_norm": [32],
    }
    return {f"layers.{layer}.{name}.weight": size for name, size in parts.items()}


def feed_forward_shapes(prefix: str, width: int, hidden: int) -> dict[str, list[int]]:
    """Those of one gated feed-forward network."""
    sizes = {"w1": [hidden, width], "w2": [width, hidden], "w3": [hidden, width]}
    return {f"{prefix}.{name}.weight": size for name, size in sizes.items()}


def test_names_and_shapes_of_the_target() -> None:
    """Exactly those of the native format, with each expert by itself."""
    wanted = {
        "tok_embeddings.weight": [80, 32],
        "norm.weight": [32],
        "output.weight": [80, 32],
        "vision_encoder.patch_conv.weight": [48, 3, 14, 14],
        "vision_encoder.ln_pre.weight": [48],
        "pre_mm_projector_norm.weight": [48],
        "patch_merger.merging_layer.weight": [48, 4 * 48],
        "vision_language_adapter.w_in.weight": [32, 48],
        "vision_language_adapter.w_out.weight": [32, 32],
    }
    for layer in range(2):
        wanted |= attention_shapes(layer) | {f"layers.{layer}.gate.weight": [8, 32]}
        for part in ("shared_experts", *(f"experts.{expert}" for expert in range(8))):
            wanted |= feed_forward_shapes(f"layers.{layer}.{part}", 32, 20)
        prefix = f"vision_encoder.transformer.layers.{layer}"
        wanted |= {f"{prefix}.attention.w{letter}.weight": [48, 48] for letter in "qkvo"}
        wanted |= {f"{prefix}.{norm}.weight": [48] for norm in ("attention_norm", "ffn_norm")}
        wanted |= feed_forward_shapes(f"{prefix}.feed_forward", 48, 56)
    assert shapes(PocketModel(SMALL)) == wanted


def test_names_and_shapes_of_the_head() -> None:
    """Dense layers, a projection and a norm; the target's embedding and output are not in it."""
    wanted = {"eagle_linear.weight": [32, 64], "norm.weight": [32]}
    for layer in range(2):
        wanted |= attention_shapes(layer) | feed_forward_shapes(f"layers.{layer}.feed_forward", 32, 72)
    assert shapes(DraftHead(SMALL)) == wanted


def test_each_expert_computes_what_it_did() -> None:
    """An expert's three matrices, as they stand in the file, do to a token what the stacked ones do."""
    torch.manual_seed(0)
    model = PocketModel(SMALL).bfloat16().float()
    weights = {name: weight.float() for name, weight in native(model.state_dict()).items()}
    x = torch.randn(5, 32)
    for layer in range(2):
        for expert in range(8):
            prefix = f"layers.{layer}.experts.{expert}"
            w1, w2, w3 = (weights[f"{prefix}.w{number}.weight"] for number in (1, 2, 3))
            alone = (functional.silu(x @ w1.T) * (x @ w3.T)) @ w2.T
            stacked = model.layers[layer].experts(x, torch.full((5, 1), expert), torch.ones(5, 1))
            torch.testing.assert_close(alone, stacked)


def test_files_are_bfloat16_and_readable_by_all(tmp_path: Path) -> None:
    """Each weight rounded to bfloat16, with parameters as they were given."""
    params: dict[str, Any] = draft_params(SMALL)
    head = DraftHead(SMALL)
    write(tmp_path / "new" / "eagle", params, head.state_dict())
    file = tmp_path / "new" / "eagle" / "consolidated.safetensors"
    assert json.loads((tmp_path / "new" / "eagle" / "params.json").read_text()) == params
    assert file.stat().st_mode & 0o777 == 0o644
    stored = load_file(file)
    assert stored.keys() == head.state_dict().keys()
    for name, weight in head.state_dict().items():
        assert torch.equal(stored[name], weight.bfloat16())


def test_a_checkpoint_comes_back_as_the_model_has_it(tmp_path: Path) -> None:
    """All weights of the model, under its names, rounded to bfloat16."""
    model = PocketModel(SMALL)
    write(tmp_path, target_params(SMALL), model.state_dict())
    loaded = load(tmp_path)
    assert loaded.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded[name], weight.bfloat16())


def test_a_run_is_exported_with_its_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The target with its tokenizer, the head once there is one; the command says how much it is."""
    run, out = tmp_path / "run", tmp_path / "out"
    trainer = Trainer(run, Recipe(num_steps=1, num_tokens=700), TINY)
    trainer.train(0, 0, 1, 0)
    export(run, out)
    assert {str(file.relative_to(out)) for file in out.rglob("*.*")} == {
        "target/params.json",
        "target/consolidated.safetensors",
        "target/tekken.json",
    }
    assert (out / "target" / "tekken.json").read_bytes() == (run / "tekken.json").read_bytes()
    assert json.loads((out / "target" / "params.json").read_text()) == target_params(TINY)
    weights = load_file(out / "target" / "consolidated.safetensors")
    assert torch.equal(weights["norm.weight"], trainer.model.norm.weight.bfloat16())

    torch.save(DraftHead(TINY).state_dict(), run / HEAD)
    main([str(run), "--out", str(out)])
    assert json.loads((out / "eagle" / "params.json").read_text()) == draft_params(TINY)
    size_bytes = sum((out / name / "consolidated.safetensors").stat().st_size for name in NAMES)
    assert f"{size_bytes / 1e6:.1f} MB" in capsys.readouterr().out
