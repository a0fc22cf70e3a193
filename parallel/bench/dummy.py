"""What does a full-size checkpoint look like to vLLM, but for its weights?

Sizes come from the published shape, so that a layout can be timed where no weights can be had
(`load_format: dummy` fills them in at random). The tokenizer is the public Tekken vocabulary, with the
control tokens of version 15 in their places: sizes and special tokens are right, answers are noise anyway.
"""

import json
from pathlib import Path
from typing import Any

from parallel.memory import WeightFormat
from parallel.model_shape import ModelShape

DRAFT_LAYERS = 1
"""Of the draft head: one dense layer of the target's sizes, as the cost model assumes."""

_VOCABULARY = "tekken_240911.json"
_NAMES = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
)
"""Control tokens by rank; those from 20 on that have a name follow."""
_LATER_NAMES = {
    32: "[ARGS]",
    33: "[CALL_ID]",
    34: "[THINK]",
    35: "[/THINK]",
    36: "[MODEL_SETTINGS]",
    37: "[/MODEL_SETTINGS]",
}
_FP4: dict[str, Any] = {
    "num_bits": 4,
    "type": "float",
    "strategy": "tensor_group",
    "group_size": 16,
    "symmetric": True,
}
_QUANTIZATION: dict[WeightFormat, dict[str, Any]] = {
    WeightFormat.FP8: {"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"},
    WeightFormat.NVFP4: {
        "quant_method": "compressed-tensors",
        "format": "nvfp4-pack-quantized",
        "config_groups": {
            "experts": {
                "targets": ["re:.*experts.*"],
                "weights": _FP4 | {"dynamic": False},
                "input_activations": _FP4 | {"dynamic": "local"},
            }
        },
    },
}
"""Of NVFP4 the experts alone, routed and shared, as `parallel.memory` counts them."""
_EFFORT = {"type": "enum", "values": ["none", "high"], "accepts_none": True, "default": "none"}


def write_target(folder: Path, shape: ModelShape, weights: WeightFormat) -> None:
    """Write params.json and tekken.json for a target of this shape."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.json").write_text(json.dumps(params(shape, weights), indent=2))
    (folder / "tekken.json").write_text(json.dumps(tekken()))


def write_draft(folder: Path, target: ModelShape, weights: WeightFormat) -> None:
    """Write params.json and tekken.json for an EAGLE head of this target, in a folder named so.

    The head is one file for all targets: in BF16 for one of BF16, else in FP8.
    """
    values = params(target, WeightFormat.FP8 if weights is WeightFormat.NVFP4 else weights)
    values["n_layers"] = DRAFT_LAYERS
    values["moe"] |= {"first_k_dense_replace": DRAFT_LAYERS}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.json").write_text(json.dumps(values, indent=2))
    (folder / "tekken.json").write_text(json.dumps(tekken()))


def params(shape: ModelShape, weights: WeightFormat) -> dict[str, Any]:
    """params.json of the text model: what `ModelShape.from_params` reads, and what vLLM asks for besides."""
    original = 8192
    values: dict[str, Any] = {
        "dim": shape.hidden,
        "n_layers": shape.layers,
        "n_heads": shape.heads,
        "n_kv_heads": shape.heads,
        "head_dim": shape.qk_dim,
        "hidden_dim": shape.dense_width,
        "vocab_size": shape.vocab,
        "tied_embeddings": False,
        "norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": shape.positions,
        "max_seq_len": 262_144,
        "q_lora_rank": shape.q_lora,
        "kv_lora_rank": shape.kv_lora,
        "qk_nope_head_dim": shape.nope_dim,
        "qk_rope_head_dim": shape.rope_dim,
        "v_head_dim": shape.v_dim,
        "llama_4_scaling": {"original_max_position_embeddings": original, "beta": 0.1},
        "yarn": {
            "original_max_position_embeddings": original,
            "factor": shape.positions // original,
            "apply_scale": False,
            "beta": 32,
            "alpha": 1,
        },
        "moe": {
            "expert_parallel": 1,
            "expert_model_parallel": 1,
            "route_every_n": 1,
            "first_k_dense_replace": shape.dense_layers,
            "num_experts": shape.experts,
            "num_experts_per_tok": shape.experts_per_token,
            "num_expert_groups": 1,
            "num_expert_groups_per_tok": 1,
            "routed_scale": 1.0,
            "expert_hidden_dim": shape.expert_width,
            "num_shared_experts": shape.shared_experts,
        },
    }
    if quantization := _QUANTIZATION.get(weights):
        values["quantization"] = quantization
    return values


def tekken() -> dict[str, Any]:
    """A version 15 tokenizer with the public vocabulary, of which version 15 has other words."""
    import mistral_common  # the other commands of `python -m parallel` start without it

    data = Path(mistral_common.__file__).parent / "data" / _VOCABULARY
    public = json.loads(data.read_text())
    config = public["config"] | {"version": "v15"}
    names = dict(enumerate(_NAMES)) | _LATER_NAMES
    control = [
        {"rank": rank, "token_str": names.get(rank, f"<SPECIAL_{rank}>"), "is_control": True}
        for rank in range(config["default_num_special_tokens"])
    ]
    return {
        "config": config,
        "vocab": public["vocab"],
        "special_tokens": control,
        "image": {"image_patch_size": 14, "max_image_size": 1540, "spatial_merge_size": 2},
        "model_settings_builder": {"reasoning_effort": _EFFORT},
    }
