"""What are the layers of the pocket model, in plain PyTorch, to be trained?

The parameters have the names of the native checkpoint, except that a layer's routed experts are stacked
(`export.py` takes them apart).

Shape legend: T tokens of all texts, D width, H heads, N, R and A head widths without position, with position
and of values, E experts, K experts a token, F expert width.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy.pocket.shape import Shape

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries [T, H, N+R], keys [T, H, N+R], values [T, H, A]) -> [T, H, A], causal within each text."""


class Norm(nn.Module):
    """Division by the root mean square, and a gain a channel."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[.., width] -> the same."""
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def linear(num_in: int, num_out: int, gain: float = 1.0) -> nn.Linear:
    """A linear map without bias that turns inputs of spread 1 into outputs of spread `gain`."""
    layer = nn.Linear(num_in, num_out, bias=False)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(num_in))
    return layer


class FeedForward(nn.Module):
    """Two gates' product: w2(silu(w1 x) * w3 x)."""

    def __init__(self, width: int, hidden: int, gain: float = 1.0) -> None:
        super().__init__()
        self.w1 = linear(width, hidden)
        self.w3 = linear(width, hidden)
        self.w2 = linear(hidden, width, gain)

    def forward(self, x: Tensor) -> Tensor:
        """[.., width] -> the same."""
        out: Tensor = self.w2(functional.silu(self.w1(x)) * self.w3(x))
        return out


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate neighbouring channels (0 and 1, 2 and 3, ..) of x [T, H, R] by `angles` [T, R/2]."""
    cos, sin = angles.cos()[:, None].to(x.dtype), angles.sin()[:, None].to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)


def yarn_frequencies(shape: Shape) -> Tensor:
    """The rotation a position [R/2] of each pair of channels, after YaRN (Peng et al. 2023, section 3.2).

    Pairs that turn more than 32 times within the original length keep their frequency, those that turn less
    than once are stretched by the factor, the others lie between.
    """
    num_channels, base = shape.qk_rope_head_dim, shape.rope_theta
    factor = shape.max_positions / shape.original_positions

    def channel(num_turns: float) -> float:
        turns = math.log(shape.original_positions / (num_turns * 2 * math.pi))
        return num_channels * turns / (2 * math.log(base))

    low = max(math.floor(channel(32)), 0)
    high = min(math.ceil(channel(1)), num_channels - 1)
    frequencies = base ** (-torch.arange(0, num_channels, 2, dtype=torch.float32) / num_channels)
    stretched = ((torch.arange(num_channels // 2) - low) / (high - low)).clamp(0, 1)
    return frequencies / factor * stretched + frequencies * (1 - stretched)


class Attention(nn.Module):
    """Multi-head latent attention, with the latents expanded to full keys and values."""

    def __init__(self, shape: Shape, gain: float) -> None:
        super().__init__()
        self.shape = shape
        heads = shape.n_heads
        self.wq_a = linear(shape.dim, shape.q_lora_rank)
        self.q_a_norm = Norm(shape.q_lora_rank, shape.norm_eps)
        self.wq_b = linear(shape.q_lora_rank, heads * (shape.qk_nope_head_dim + shape.qk_rope_head_dim))
        self.wkv_a_with_mqa = linear(shape.dim, shape.kv_lora_rank + shape.qk_rope_head_dim)
        self.kv_a_norm = Norm(shape.kv_lora_rank, shape.norm_eps)
        self.wkv_b = linear(shape.kv_lora_rank, heads * (shape.qk_nope_head_dim + shape.v_head_dim))
        self.wo = linear(heads * shape.v_head_dim, shape.dim, gain)

    def forward(self, x: Tensor, angles: Tensor, query_scale: Tensor, index: int, attend: Attend) -> Tensor:
        """X [T, D], angles [T, R/2], query_scale [T, 1, 1] -> [T, D]."""
        shape = self.shape
        q = self.wq_b(self.q_a_norm(self.wq_a(x))).unflatten(-1, (shape.n_heads, -1))
        q_nope, q_rope = q.split([shape.qk_nope_head_dim, shape.qk_rope_head_dim], dim=-1)
        latent, k_rope = self.wkv_a_with_mqa(x).split([shape.kv_lora_rank, shape.qk_rope_head_dim], dim=-1)
        kv = self.wkv_b(self.kv_a_norm(latent)).unflatten(-1, (shape.n_heads, -1))
        k_nope, v = kv.split([shape.qk_nope_head_dim, shape.v_head_dim], dim=-1)
        k_rope = turned(k_rope[:, None], angles).expand(-1, shape.n_heads, -1)
        q = torch.cat((q_nope, turned(q_rope, angles)), dim=-1) * query_scale.to(q.dtype)
        k = torch.cat((k_nope, k_rope), dim=-1)
        out: Tensor = self.wo(attend(index, q, k, v.contiguous()).flatten(1))
        return out


class Experts(nn.Module):
    """The routed experts of one layer: w13 [E, D, 2F], the two gates side by side, and w2 [E, F, D]."""

    def __init__(self, shape: Shape, gain: float) -> None:
        super().__init__()
        num, dim, hidden = shape.num_experts, shape.dim, shape.expert_hidden_dim
        self.w13 = nn.Parameter(torch.randn(num, dim, 2 * hidden) / math.sqrt(dim))
        self.w2 = nn.Parameter(torch.randn(num, hidden, dim) * gain / math.sqrt(hidden))

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """X [T, D], chosen experts int64 [T, K] and their weights [T, K] -> [T, D]."""
        num_chosen = chosen.shape[1]
        order = chosen.flatten().argsort()
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
        counts = torch.zeros(len(self.w13), dtype=torch.int32, device=x.device)
        counts.scatter_add_(0, chosen.flatten(), torch.ones_like(order, dtype=torch.int32))
        ends = counts.cumsum(0, dtype=torch.int32)
        kind = torch.bfloat16 if x.is_cuda else x.dtype
        # The gradient of an expert without tokens is memory that grouped_mm never wrote: it must not count.
        used = (counts > 0)[:, None, None]
        w13, w2 = (torch.where(used, w, w.detach()).to(kind) for w in (self.w13, self.w2))
        grouped = functional.grouped_mm
        gate, up = grouped(x[order // num_chosen].to(kind), w13, offs=ends).chunk(2, dim=-1)
        out = grouped(functional.silu(gate) * up, w2, offs=ends)[place]
        mixed: Tensor = (out.unflatten(0, (-1, num_chosen)) * weights[..., None].to(kind)).sum(1)
        return mixed


class MixtureLayer(nn.Module):
    """A decoder layer: attention, and the best experts of many beside a shared one."""

    def __init__(self, shape: Shape, gain: float) -> None:
        super().__init__()
        self.num_chosen = shape.num_experts_per_tok
        self.attention_norm = Norm(shape.dim, shape.norm_eps)
        self.attention = Attention(shape, gain)
        self.ffn_norm = Norm(shape.dim, shape.norm_eps)
        self.gate = linear(shape.dim, shape.num_experts)
        self.experts = Experts(shape, gain)
        self.shared_experts = FeedForward(shape.dim, shape.expert_hidden_dim, gain)

    def forward(
        self, x: Tensor, angles: Tensor, query_scale: Tensor, index: int, attend: Attend
    ) -> tuple[Tensor, Tensor, Tensor]:
        """X [T, D] -> the same, and the mean probability [E] and the share of choices [E] of each expert."""
        x = x + self.attention(self.attention_norm(x), angles, query_scale, index, attend)
        normed = self.ffn_norm(x)
        probabilities = self.gate(normed).float().softmax(-1)
        weights, chosen = probabilities.topk(self.num_chosen, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        x = x + self.experts(normed, chosen, weights) + self.shared_experts(normed)
        share = torch.zeros_like(probabilities[0]).scatter_add_(
            0, chosen.flatten(), torch.full_like(weights.flatten(), 1 / chosen.numel())
        )
        return x, probabilities.mean(0), share


class DenseLayer(nn.Module):
    """A decoder layer of the draft head: attention and one feed-forward network."""

    def __init__(self, shape: Shape, gain: float) -> None:
        super().__init__()
        self.attention_norm = Norm(shape.dim, shape.norm_eps)
        self.attention = Attention(shape, gain)
        self.ffn_norm = Norm(shape.dim, shape.norm_eps)
        self.feed_forward = FeedForward(shape.dim, shape.draft_hidden_dim, gain)

    def forward(self, x: Tensor, angles: Tensor, query_scale: Tensor, index: int, attend: Attend) -> Tensor:
        """X [T, D] -> the same."""
        x = x + self.attention(self.attention_norm(x), angles, query_scale, index, attend)
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


class Positions(nn.Module):
    """What a position does to attention: angles of rotation, and a scale of the query past a length."""

    frequencies: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("frequencies", yarn_frequencies(shape), persistent=False)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Positions int64 [T] -> angles [T, R/2] and query scale [T, 1, 1]."""
        shape = self.shape
        spans = torch.floor(positions / shape.original_positions)
        scale = 1 + shape.attention_beta * torch.log(1 + spans)
        return positions[:, None] * self.frequencies, scale[:, None, None]
