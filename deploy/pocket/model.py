"""What does the pocket model compute? Embeddings, decoder layers, and a vision tower for images.

Shape legend: T tokens of all texts, D width, V vocabulary, E experts, L layers, P patches of all images,
M image embeddings (P / 4), W vision width, R channels of a head with position.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy.pocket.layers import (
    Attend,
    DenseLayer,
    FeedForward,
    MixtureLayer,
    Norm,
    Positions,
    linear,
    turned,
)
from deploy.pocket.ragged import Images, Texts
from deploy.pocket.shape import Shape

VISION_EPS = 1e-5
"""Of every norm of the vision tower; the text layers have `norm_eps`."""


class VisionAttention(nn.Module):
    """Attention among the patches of one image."""

    def __init__(self, shape: Shape, gain: float) -> None:
        super().__init__()
        self.num_heads = shape.vision_heads
        self.wq, self.wk, self.wv = (linear(shape.vision_dim, shape.vision_dim) for _ in range(3))
        self.wo = linear(shape.vision_dim, shape.vision_dim, gain)

    def forward(self, x: Tensor, angles: Tensor, images: Images) -> Tensor:
        """X [P, W], angles [P, R/2] -> [P, W]."""
        q, k, v = (layer(x).unflatten(-1, (self.num_heads, -1)) for layer in (self.wq, self.wk, self.wv))
        out = images.spans.attend(turned(q, angles), turned(k, angles), v, causal=False)
        projected: Tensor = self.wo(out.flatten(1))
        return projected


class VisionLayer(nn.Module):
    """One layer of the vision tower."""

    def __init__(self, shape: Shape, gain: float) -> None:
        super().__init__()
        self.attention_norm = Norm(shape.vision_dim, VISION_EPS)
        self.attention = VisionAttention(shape, gain)
        self.ffn_norm = Norm(shape.vision_dim, VISION_EPS)
        self.feed_forward = FeedForward(shape.vision_dim, shape.vision_hidden_dim, gain)

    def forward(self, x: Tensor, angles: Tensor, images: Images) -> Tensor:
        """X [P, W] -> the same."""
        x = x + self.attention(self.attention_norm(x), angles, images)
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


class VisionEncoder(nn.Module):
    """Patches to features: a linear map of the pixels, and layers with rotary positions in two dimensions."""

    frequencies: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        head_dim = shape.vision_dim // shape.vision_heads
        self.patch_conv = nn.Conv2d(3, shape.vision_dim, shape.patch_size, shape.patch_size, bias=False)
        self.ln_pre = Norm(shape.vision_dim, VISION_EPS)
        gain = (2 * shape.vision_layers) ** -0.5
        self.transformer = nn.ModuleDict(
            {"layers": nn.ModuleList(VisionLayer(shape, gain) for _ in range(shape.vision_layers))}
        )
        channels = torch.arange(0, head_dim, 2, dtype=torch.float32)
        self.register_buffer("frequencies", shape.rope_theta ** (-channels / head_dim), persistent=False)

    def forward(self, images: Images) -> Tensor:
        """The features [P, W] of all patches: every other frequency is the row's, the rest the column's."""
        x = self.ln_pre(functional.linear(images.pixels, self.patch_conv.weight.flatten(1)))
        by_row = images.rows[:, None] * self.frequencies[0::2]
        by_col = images.cols[:, None] * self.frequencies[1::2]
        angles = torch.cat((by_row, by_col), dim=-1)
        for layer in self.transformer["layers"]:
            x = layer(x, angles, images)
        return x


class PatchMerger(nn.Module):
    """One feature of four neighbouring patches."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.num_merged = shape.merge_size**2
        self.merging_layer = linear(shape.vision_dim * self.num_merged, shape.vision_dim)

    def forward(self, x: Tensor, images: Images) -> Tensor:
        """X [P, W] -> [M, W]. The merged patches' features are interleaved channel by channel."""
        groups = x[images.merge_order].unflatten(0, (-1, self.num_merged))
        out: Tensor = self.merging_layer(groups.transpose(1, 2).flatten(1))
        return out


class Adapter(nn.Module):
    """From the vision tower's width to the text's."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.w_in = linear(shape.vision_dim, shape.dim)
        self.w_out = linear(shape.dim, shape.dim)

    def forward(self, x: Tensor) -> Tensor:
        """X [M, W] -> [M, D]."""
        out: Tensor = self.w_out(functional.gelu(self.w_in(x)))
        return out


@dataclass(frozen=True)
class Routing:
    """How each layer's router spread the tokens: mean probability and share of choices, both [L, E]."""

    probability: Tensor
    share: Tensor

    def balance_loss(self) -> Tensor:
        """1 if all experts are used alike, up to E if one takes all (Fedus et al. 2021, equation 4)."""
        num_experts = self.share.shape[1]
        return num_experts * (self.probability * self.share).sum(-1).mean()

    def entropy(self) -> Tensor:
        """The entropy of the experts' load a layer [L], as a fraction of that of an even load."""
        load = self.share.clamp_min(1e-9)
        even = torch.tensor(self.share.shape[1], dtype=torch.float32).log().to(load.device)
        return -(load * load.log()).sum(-1) / even


class PocketModel(nn.Module):
    """The target model."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tok_embeddings = nn.Embedding(shape.vocab_size, shape.dim)
        nn.init.normal_(self.tok_embeddings.weight, std=0.5)
        gain = (2 * shape.n_layers) ** -0.5
        self.layers = nn.ModuleList(MixtureLayer(shape, gain) for _ in range(shape.n_layers))
        self.norm = Norm(shape.dim, shape.norm_eps)
        self.output = linear(shape.dim, shape.vocab_size, gain=0.5)
        self.positions = Positions(shape)
        self.vision_encoder = VisionEncoder(shape)
        self.pre_mm_projector_norm = Norm(shape.vision_dim, VISION_EPS)
        self.patch_merger = PatchMerger(shape)
        self.vision_language_adapter = Adapter(shape)

    def embed(self, texts: Texts) -> Tensor:
        """The embeddings [T, D] of all tokens, an image's in their places."""
        embeddings: Tensor = self.tok_embeddings(texts.tokens)
        if texts.images is None:
            return embeddings
        features = self.pre_mm_projector_norm(self.vision_encoder(texts.images))
        seen = self.vision_language_adapter(self.patch_merger(features, texts.images))
        return embeddings.index_put((texts.image_slots,), seen.to(embeddings.dtype))

    def decode(self, x: Tensor, positions: Tensor, attend: Attend) -> tuple[Tensor, Routing]:
        """Embeddings [T, D] at positions [T] -> hidden states [T, D] after the last norm."""
        angles, query_scale = self.positions(positions)
        routed = []
        for index, layer in enumerate(self.layers):
            x, *routing = layer(x, angles, query_scale, index, attend)
            routed.append(routing)
        probability, share = (torch.stack(parts) for parts in zip(*routed, strict=True))
        return self.norm(x), Routing(probability, share)

    def forward(self, texts: Texts) -> tuple[Tensor, Routing]:
        """All texts at once -> hidden states [T, D]; `output` turns them into logits [T, V]."""

        def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return texts.spans.attend(q, k, v, causal=True)

        return self.decode(self.embed(texts), texts.positions, attend)


class DraftHead(nn.Module):
    """The EAGLE head: guesses the target's next hidden state from the last one and the token that followed.

    It has the target's embeddings and output layer (Li et al. 2024, "EAGLE").
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.eagle_linear = linear(2 * shape.dim, shape.dim)
        gain = (2 * shape.draft_layers) ** -0.5
        self.layers = nn.ModuleList(DenseLayer(shape, gain) for _ in range(shape.draft_layers))
        self.norm = Norm(shape.dim, shape.norm_eps)
        self.positions = Positions(shape)

    def forward(self, embedded: Tensor, hidden: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """The next tokens' embeddings [T, D], hidden states [T, D], positions [T] -> hidden states [T, D]."""
        angles, query_scale = self.positions(positions)
        x = self.eagle_linear(torch.cat((embedded, hidden), dim=-1))
        for index, layer in enumerate(self.layers):
            x = layer(x, angles, query_scale, index, attend)
        out: Tensor = self.norm(x)
        return out
