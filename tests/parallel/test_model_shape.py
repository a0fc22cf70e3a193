"""Reading params.json: every tensor is counted, and what cannot be counted is refused."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from parallel.model_shape import MISTRAL_SMALL_4, Division, ModelShape, Part

SMALL_4: dict[str, Any] = json.loads((Path(__file__).parent / "small_4/params.json").read_text())
"""Mistral Small 4 at full size, without its vision tower."""


def stored_sizes(checkpoint: Path) -> dict[str, int]:
    """Elements of every tensor, from the header of the safetensors file (its length, then JSON)."""
    with (checkpoint / "consolidated.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return {name: math.prod(tensor["shape"]) for name, tensor in header.items()}


def part_of(tensor: str) -> Part:
    """The part that a tensor belongs to, by its name."""
    prefixes = {
        "vision_encoder.": Part.VISION,
        "vision_language_adapter.": Part.VISION,
        "patch_merger.": Part.VISION,
        "pre_mm_projector_norm.": Part.VISION,
        "tok_embeddings.": Part.EMBEDDING,
        "output.": Part.EMBEDDING,
        "eagle_linear.": Part.EAGLE,
    }
    infixes = {
        "norm.": Part.ROUTER,
        ".gate.": Part.ROUTER,
        ".attention.": Part.ATTENTION,
        ".shared_experts.": Part.SHARED_EXPERTS,
        ".experts.": Part.EXPERTS,
        ".feed_forward.": Part.DENSE,
    }
    by_prefix = (part for prefix, part in prefixes.items() if tensor.startswith(prefix))
    by_infix = (part for infix, part in infixes.items() if infix in tensor)
    return next(by_prefix, None) or next(by_infix)


@pytest.mark.parametrize(("name", "draft"), [("target", False), ("eagle", True)])
def test_counts_the_pocket_model_exactly(checkpoint: Path, name: str, draft: bool) -> None:
    """Part by part, the shape holds as many elements as the checkpoint in the repository."""
    stored: Counter[Part] = Counter()
    for tensor, num_elements in stored_sizes(checkpoint / name).items():
        stored[part_of(tensor)] += num_elements
    counted: Counter[Part] = Counter()
    for weight in ModelShape.read(checkpoint / name, draft=draft).weights():
        counted[weight.part] += weight.total_elements
    assert counted == stored


def test_published_sizes_are_those_of_the_checkpoint() -> None:
    """Planning without a checkpoint counts what planning with one does."""
    assert ModelShape.from_params(SMALL_4) == MISTRAL_SMALL_4


def test_mistral_small_4_has_119_billion_parameters() -> None:
    """The model's published size, without the vision tower, and 6.6 billion of it used for a token."""
    shape = ModelShape.from_params(SMALL_4)
    total = sum(weight.total_elements for weight in shape.weights())
    idle = sum(w.total_elements * 124 // 128 for w in shape.weights() if w.part is Part.EXPERTS)
    assert total == pytest.approx(119e9, rel=0.005)
    assert total - idle == pytest.approx(6.6e9, rel=0.01)


def test_only_experts_are_divided_over_all_ranks() -> None:
    """Data-parallel groups share the experts and nothing else."""
    shape = ModelShape.from_params(SMALL_4)
    assert {w.part for w in shape.weights() if w.division is Division.ALL_RANKS} == {Part.EXPERTS}


def test_leading_dense_layers() -> None:
    """Layers before `first_k_dense_replace` have one wide feed-forward and no router."""
    params = SMALL_4 | {"n_layers": 2, "moe": SMALL_4["moe"] | {"first_k_dense_replace": 2}}
    parts = {w.part: w.total_elements for w in ModelShape.from_params(params, draft=True).weights()}
    assert parts[Part.DENSE] == 2 * 3 * 4096 * 12288
    assert Part.EXPERTS not in parts
    assert Part.EMBEDDING not in parts
    assert parts[Part.EAGLE] == 2 * 4096 * 4096


def test_rotary_table_covers_the_unscaled_length_without_yarn() -> None:
    """With YaRN positions are its original length times its factor; without, the model's maximum."""
    plain = {key: value for key, value in SMALL_4.items() if key != "yarn"} | {"max_position_embeddings": 7}
    assert ModelShape.from_params(SMALL_4).positions == 8192 * 128
    assert ModelShape.from_params(plain).positions == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tied_embeddings": True}, "tied_embeddings=True"),
        ({"moe": SMALL_4["moe"] | {"route_every_n": 2}}, "route_every_n=2"),
        ({"moe": {}}, "lacks the key 'moe.route_every_n'"),
        ({"vision_encoder": {"hidden_size": 64}}, "lacks the key 'vision_encoder.intermediate_size'"),
        ({"n_layers": "36"}, "params.json: n_layers must be a whole number of at least 1, not '36'"),
        ({"yarn": {"original_max_position_embeddings": 8192, "factor": []}}, "yarn.factor must be"),
        ({"vision_encoder": [1]}, r"vision_encoder must be an object, not \[1\]"),
    ],
)
def test_refuses_what_it_cannot_count(changes: dict[str, Any], message: str) -> None:
    """Another architecture, or half a configuration, is an error and not a wrong number."""
    with pytest.raises(ValueError, match=message):
        ModelShape.from_params(SMALL_4 | changes)
