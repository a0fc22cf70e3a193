"""Which sizes does the pocket model have, and what do `params.json` and `tekken.json` say of them?

All that the engine branches on is as in the full model: latent attention with a compressed query, 128 routed
experts of which 4 are active beside a shared one, YaRN and Llama-4 attention scaling, a vision tower with a
patch merger, and a tokenizer of version 15 with 1,000 control tokens and the reasoning-effort setting. The
latents that attention caches (256 + 64) are the full model's too, so that the same attention kernels run.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mistral_common

END_OF_TEXT = 2
IMAGE_TOKEN = 10

CONTROL_TOKENS = """
    <unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS]
    [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT]
    [TOOL_CONTENT] 20 21 22 23 24 25 26 27 28 29 30 31 [ARGS] [CALL_ID] [THINK] [/THINK] [MODEL_SETTINGS]
    [/MODEL_SETTINGS]
"""
"""The control tokens in the order of their ids; a number, like every id after the last, stands for no use."""


@dataclass(frozen=True)
class Shape:
    """Every size of the pocket model; the same names as in `params.json` where there is one."""

    dim: int = 192
    n_layers: int = 6
    n_heads: int = 4
    vocab_size: int = 9216
    num_control_tokens: int = 1000
    q_lora_rank: int = 96
    kv_lora_rank: int = 256
    qk_nope_head_dim: int = 64
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128
    num_experts: int = 128
    num_experts_per_tok: int = 4
    expert_hidden_dim: int = 32
    norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    original_positions: int = 4096
    max_positions: int = 16384
    attention_beta: float = 0.1
    vision_dim: int = 128
    vision_hidden_dim: int = 256
    vision_layers: int = 3
    vision_heads: int = 2
    patch_size: int = 14
    merge_size: int = 2
    max_image_size: int = 224
    draft_layers: int = 2
    draft_hidden_dim: int = 768


def target_params(shape: Shape) -> dict[str, Any]:
    """The content of the model's `params.json`."""
    return text_params(shape, shape.n_layers, dense_layers=0) | {"vision_encoder": _vision_params(shape)}


def draft_params(shape: Shape) -> dict[str, Any]:
    """The content of the draft head's `params.json`: a few dense layers and no vision tower."""
    return text_params(shape, shape.draft_layers, dense_layers=shape.draft_layers)


def text_params(shape: Shape, n_layers: int, dense_layers: int) -> dict[str, Any]:
    """The content of a `params.json` without a vision tower; the first `dense_layers` have no experts."""
    return {
        "dim": shape.dim,
        "n_layers": n_layers,
        "n_heads": shape.n_heads,
        "n_kv_heads": shape.n_heads,
        "head_dim": shape.qk_nope_head_dim + shape.qk_rope_head_dim,
        "hidden_dim": shape.draft_hidden_dim,
        "vocab_size": shape.vocab_size,
        "tied_embeddings": False,
        "norm_eps": shape.norm_eps,
        "rope_theta": shape.rope_theta,
        "max_position_embeddings": shape.max_positions,
        "max_seq_len": shape.max_positions,
        "q_lora_rank": shape.q_lora_rank,
        "kv_lora_rank": shape.kv_lora_rank,
        "qk_nope_head_dim": shape.qk_nope_head_dim,
        "qk_rope_head_dim": shape.qk_rope_head_dim,
        "v_head_dim": shape.v_head_dim,
        "llama_4_scaling": {
            "original_max_position_embeddings": shape.original_positions,
            "beta": shape.attention_beta,
        },
        "yarn": {
            "original_max_position_embeddings": shape.original_positions,
            "factor": shape.max_positions // shape.original_positions,
            "apply_scale": False,
            "beta": 32,
            "alpha": 1,
        },
        "moe": {
            "expert_parallel": 1,
            "expert_model_parallel": 1,
            "route_every_n": 1,
            "first_k_dense_replace": dense_layers,
            "num_experts": shape.num_experts,
            "num_experts_per_tok": shape.num_experts_per_tok,
            "num_expert_groups": 1,
            "num_expert_groups_per_tok": 1,
            "routed_scale": 1.0,
            "expert_hidden_dim": shape.expert_hidden_dim,
            "num_shared_experts": 1,
        },
    }


def _vision_params(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.vision_dim,
        "num_channels": 3,
        "image_size": shape.max_image_size,
        "max_image_size": shape.max_image_size,
        "patch_size": shape.patch_size,
        "intermediate_size": shape.vision_hidden_dim,
        "num_hidden_layers": shape.vision_layers,
        "num_attention_heads": shape.vision_heads,
        "rope_theta": shape.rope_theta,
        "image_token_id": IMAGE_TOKEN,
        "adapter_bias": False,
        "spatial_merge_size": shape.merge_size,
        "mm_projector_id": "patch_merge",
        "add_pre_mm_projector_layer_norm": True,
    }


def tekken(shape: Shape) -> dict[str, Any]:
    """The content of `tekken.json`: a released vocabulary's prefix, the real control tokens and settings."""
    released = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    source = json.loads(released.read_text(encoding="utf-8"))
    num_text_tokens = shape.vocab_size - shape.num_control_tokens
    config = source["config"] | {
        "version": "v15",
        "num_vocab_tokens": num_text_tokens,
        "default_vocab_size": shape.vocab_size,
        "default_num_special_tokens": shape.num_control_tokens,
    }
    effort = {"type": "enum", "values": ["none", "high"], "accepts_none": True, "default": "none"}
    named = CONTROL_TOKENS.split()
    unused = [""] * (shape.num_control_tokens - len(named))
    return {
        "config": config,
        "vocab": source["vocab"][:num_text_tokens],
        "special_tokens": [
            {
                "rank": rank,
                "token_str": name if name.strip("0123456789") else f"<SPECIAL_{rank}>",
                "is_control": True,
            }
            for rank, name in enumerate(named + unused)
        ],
        "image": {
            "image_patch_size": shape.patch_size,
            "max_image_size": shape.max_image_size,
            "spatial_merge_size": shape.merge_size,
        },
        "model_settings_builder": {"reasoning_effort": effort},
    }


def write_tekken(shape: Shape, file: Path) -> None:
    """Write `tekken.json`."""
    file.write_text(json.dumps(tekken(shape), ensure_ascii=False) + "\n", encoding="utf-8")
