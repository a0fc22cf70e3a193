"""How does a native checkpoint become a model of transformers, and which logits does that give?

transformers has the architecture as Mistral3ForConditionalGeneration around a Pixtral tower and a
Mistral4 decoder, but no converter from this format. What it must be told, since its defaults are other
than the format's, and in brackets by how much logits that spread by 7 are wrong if it is not:

- the head is untied (hundreds), the tower's activation is SiLU (11);
- with `apply_scale: false`, yarn's magnitude enters neither the scale of attention (8) nor cosine and
  sine (7), while its frequencies hold at every position (6);
- Llama-4 scaling, which shows past its original length only (1.0, and 2.5 past twice that);
- norms: those of the tower and the one after it have an epsilon of their own (1e-3 and 2e-4), those
  inside of latent attention have the text's, where transformers has a constant (2e-4 if they differ).

Laid out alike on both sides are the decoder's rotated channels, in pairs side by side (17 if taken for
halves), the merger's input, channel by channel (92 if patch by patch), and the adapter's exact GELU (0.02
if by tanh). The tower's pairs side by side must become halves (25).
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Mistral4Config,
    PixtralVisionConfig,
)

from tests.deploy.pocket.truth_prompts import Pixels

Weights = dict[str, torch.Tensor]

VISION_EPS = 1e-5
"""Of every norm of the tower and of the one after it; the format has no field for it."""

TEXT = "model.language_model."
TOWER = "model.vision_tower."
PROJECTOR = "model.multi_modal_projector."
FEED_FORWARD = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
ATTENTION = {
    "wq_a": "q_a_proj",
    "q_a_norm": "q_a_layernorm",
    "wq_b": "q_b_proj",
    "wkv_a_with_mqa": "kv_a_proj_with_mqa",
    "kv_a_norm": "kv_a_layernorm",
    "wkv_b": "kv_b_proj",
    "wo": "o_proj",
}
NAMES = {
    r"tok_embeddings": TEXT + "embed_tokens",
    r"norm": TEXT + "norm",
    r"output": "lm_head",
    r"layers\.(\d+)\.attention_norm": TEXT + r"layers.\1.input_layernorm",
    r"layers\.(\d+)\.ffn_norm": TEXT + r"layers.\1.post_attention_layernorm",
    r"layers\.(\d+)\.gate": TEXT + r"layers.\1.mlp.gate",
    r"vision_encoder\.(patch_conv|ln_pre)": TOWER + r"\1",
    r"vision_encoder\.(transformer\.layers\.\d+\.(?:attention|ffn)_norm)": TOWER + r"\1",
    r"pre_mm_projector_norm": PROJECTOR + "norm",
    r"patch_merger\.merging_layer": PROJECTOR + "patch_merger.merging_layer",
    r"vision_language_adapter\.w_in": PROJECTOR + "linear_1",
    r"vision_language_adapter\.w_out": PROJECTOR + "linear_2",
}
NAMES |= {
    rf"layers\.(\d+)\.attention\.{native}": rf"{TEXT}layers.\1.self_attn.{name}"
    for native, name in ATTENTION.items()
}
for _native, _name in FEED_FORWARD.items():
    NAMES[rf"layers\.(\d+)\.feed_forward\.{_native}"] = rf"{TEXT}layers.\1.mlp.{_name}"
    NAMES[rf"layers\.(\d+)\.shared_experts\.{_native}"] = rf"{TEXT}layers.\1.mlp.shared_experts.{_name}"
    NAMES[rf"vision_encoder\.(transformer\.layers\.\d+\.feed_forward)\.{_native}"] = rf"{TOWER}\1.{_name}"
for _letter in "qkvo":
    _pattern = rf"vision_encoder\.(transformer\.layers\.\d+\.attention)\.w{_letter}"
    NAMES[_pattern] = rf"{TOWER}\1.{_letter}_proj"
"""Native names to transformers', both without their suffix `.weight` or `.bias`; experts are apart."""


def text_config(params: dict[str, Any]) -> Mistral4Config:
    """The decoder's configuration.

    Raises ValueError where Mistral4Config has one field for what are two values in `params`.
    """
    moe, yarn, scaling = params["moe"], params["yarn"], params["llama_4_scaling"]
    original = yarn["original_max_position_embeddings"]
    if scaling["original_max_position_embeddings"] != original:
        raise ValueError(f"llama_4_scaling: {scaling} has another original length than yarn: {original}")
    return Mistral4Config(
        vocab_size=params["vocab_size"],
        hidden_size=params["dim"],
        intermediate_size=params["hidden_dim"],
        moe_intermediate_size=moe["expert_hidden_dim"],
        num_hidden_layers=params["n_layers"],
        num_attention_heads=params["n_heads"],
        num_key_value_heads=params["n_heads"],
        n_shared_experts=moe["num_shared_experts"],
        n_routed_experts=moe["num_experts"],
        num_experts_per_tok=moe["num_experts_per_tok"],
        n_group=moe["num_expert_groups"],
        topk_group=moe["num_expert_groups_per_tok"],
        routed_scaling_factor=moe["routed_scale"],
        first_k_dense_replace=moe["first_k_dense_replace"],
        norm_topk_prob=True,
        q_lora_rank=params["q_lora_rank"],
        kv_lora_rank=params["kv_lora_rank"],
        qk_nope_head_dim=params["qk_nope_head_dim"],
        qk_rope_head_dim=params["qk_rope_head_dim"],
        v_head_dim=params["v_head_dim"],
        max_position_embeddings=params["max_position_embeddings"],
        rms_norm_eps=params["norm_eps"],
        tie_word_embeddings=params["tied_embeddings"],
        rope_interleave=True,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": params["rope_theta"],
            "factor": float(yarn["factor"]),
            "original_max_position_embeddings": original,
            "beta_fast": float(yarn["beta"]),
            "beta_slow": float(yarn["alpha"]),
            "llama_4_scaling_beta": scaling["beta"],
            "attention_factor": 1.0,
            # In transformers this, not the factor above, decides whether the scale of attention is yarn's.
            "mscale_all_dim": 1.0 if yarn["apply_scale"] else 0.0,
        },
    )


def vision_config(vision: dict[str, Any]) -> PixtralVisionConfig:
    """The tower's configuration."""
    return PixtralVisionConfig(
        hidden_size=vision["hidden_size"],
        intermediate_size=vision["intermediate_size"],
        num_hidden_layers=vision["num_hidden_layers"],
        num_attention_heads=vision["num_attention_heads"],
        num_channels=vision["num_channels"],
        image_size=vision["image_size"],
        patch_size=vision["patch_size"],
        hidden_act="silu",
        rope_parameters={"rope_type": "default", "rope_theta": vision["rope_theta"]},
    )


def config(params: dict[str, Any]) -> Mistral3Config:
    """The whole configuration."""
    vision = params["vision_encoder"]
    return Mistral3Config(
        text_config=text_config(params),
        vision_config=vision_config(vision),
        image_token_index=vision["image_token_id"],
        projector_hidden_act="gelu",
        multimodal_projector_bias=vision["adapter_bias"],
        spatial_merge_size=vision["spatial_merge_size"],
        tie_word_embeddings=params["tied_embeddings"],
    )


def converted(native: Weights, params: dict[str, Any]) -> Weights:
    """The same weights by transformers' names and in its layout, in float32.

    Raises KeyError for an unknown name.
    """
    num_heads = params["vision_encoder"]["num_attention_heads"]
    weights: Weights = {}
    for name, weight in native.items():
        if ".experts." in name:
            continue
        new_name = renamed(name)
        if re.search(r"vision_tower.*\.[qk]_proj", new_name):
            weight = halves(weight, num_heads)
        weights[new_name] = weight.float()
    for layer in range(params["moe"]["first_k_dense_replace"], params["n_layers"]):
        prefix = f"{TEXT}layers.{layer}.mlp.experts."
        w1, w2, w3 = (stacked(native, layer, part, params["moe"]["num_experts"]) for part in FEED_FORWARD)
        weights |= {prefix + "gate_up_proj": torch.cat([w1, w3], dim=1), prefix + "down_proj": w2}
    return weights


def renamed(name: str) -> str:
    """What transformers calls a native weight other than an expert's."""
    stem, suffix = name.rsplit(".", 1)
    for pattern, replacement in NAMES.items():
        if match := re.fullmatch(pattern, stem):
            return match.expand(replacement) + "." + suffix
    raise KeyError(name)


def stacked(native: Weights, layer: int, part: str, num_experts: int) -> torch.Tensor:
    """One part of all experts of a layer [E, out, in], in float32."""
    names = [f"layers.{layer}.experts.{expert}.{part}.weight" for expert in range(num_experts)]
    return torch.stack([native[name] for name in names]).float()


def halves(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Output channels of each head moved from pairs side by side to pairs half a head apart."""
    return weight.unflatten(0, (num_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


class Reference:
    """The checkpoint in `folder` as transformers' model, in float32.

    `change` may alter the configuration before the model is made of it.
    """

    def __init__(self, folder: Path, change: Callable[[Mistral3Config], object] | None = None) -> None:
        params = json.loads((folder / "params.json").read_text())
        chosen = config(params)
        if change is not None:
            change(chosen)
        self._model = Mistral3ForConditionalGeneration(chosen).eval()
        native = load_file(folder / "consolidated.safetensors")
        self._model.load_state_dict(converted(native, params), strict=True)
        self._model.model.multi_modal_projector.norm.variance_epsilon = VISION_EPS
        for layer in self._model.model.language_model.layers:
            for norm in (layer.self_attn.q_a_layernorm, layer.self_attn.kv_a_layernorm):
                norm.variance_epsilon = params["norm_eps"]

    @torch.inference_mode()
    def logits(self, tokens: torch.Tensor, images: list[Pixels], num_positions: int) -> torch.Tensor:
        """Logits [num_positions, V] of the last positions of `tokens` [T]; images [3, height, width] each.

        transformers fails if the images are a single token in all.
        """
        found = self._model(
            input_ids=tokens[None],
            pixel_values=batch(images) if images else None,
            image_sizes=torch.tensor([image.shape[1:] for image in images]) if images else None,
            logits_to_keep=num_positions,
            use_cache=False,
        )
        logits: torch.Tensor = found.logits[0]
        return logits


def batch(images: list[Pixels]) -> torch.Tensor:
    """Images one upon another, each in the upper left corner of zeros."""
    height, width = (max(sides) for sides in zip(*(image.shape[1:] for image in images), strict=True))
    stack = torch.zeros(len(images), 3, height, width)
    for place, image in enumerate(images):
        stack[place, :, : image.shape[1], : image.shape[2]] = torch.from_numpy(image)
    return stack
