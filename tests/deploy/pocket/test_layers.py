"""Do the layers compute what their formulas say?"""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from deploy.pocket.layers import (
    Experts,
    FeedForward,
    MixtureLayer,
    Norm,
    Positions,
    linear,
    turned,
    yarn_frequencies,
)
from deploy.pocket.shape import Shape, target_params
from tests.deploy.pocket.test_shape import SMALL
from tests.deploy.pocket.truth_transformers import text_config


def no_attention(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Nothing is seen."""
    return torch.zeros_like(v)


def test_norm_divides_by_the_root_mean_square() -> None:
    """Then each channel has its gain; epsilon counts for small inputs."""
    norm = Norm(2, eps=1.0)
    norm.weight.data = torch.tensor([1.0, 10.0])
    # Mean squares of 8 and 0, and 1 for epsilon.
    x = torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(norm(x), torch.tensor([[0.0, 40 / 3], [0.0, 0.0]]))


def test_linear_keeps_the_spread() -> None:
    """Inputs of spread 1 become outputs of the spread that was asked for."""
    torch.manual_seed(0)
    assert linear(400, 300, gain=0.5)(torch.randn(200, 400)).std().item() == pytest.approx(0.5, rel=0.02)


def test_yarn_as_in_transformers() -> None:
    """The frequencies are those of another implementation, for the model and for a small shape."""
    for shape in (Shape(), SMALL):
        wanted, attention_factor = ROPE_INIT_FUNCTIONS["yarn"](text_config(target_params(shape)), "cpu")
        torch.testing.assert_close(yarn_frequencies(shape), wanted)
        assert attention_factor == 1.0


def test_yarn_stretches_slow_pairs_only() -> None:
    """Pairs of more than 32 turns keep their frequency, those of less than one have a fourth of it."""
    plain = 10000.0 ** (-torch.arange(32) / 32)
    num_turns = 4096 * plain / (2 * math.pi)
    ratio = yarn_frequencies(Shape()) / plain
    torch.testing.assert_close(ratio[num_turns > 32], torch.ones(11))
    torch.testing.assert_close(ratio[num_turns < 1], torch.full((9,), 0.25))
    torch.testing.assert_close(ratio[10:24].diff(), torch.full((13,), -0.75 / 13))


def test_positions_scale_queries_past_the_original_length() -> None:
    """Angles grow with the position from 0 on; the scale grows by steps of the original length."""
    angles, scale = Positions(SMALL)(torch.tensor([0, 1, 15, 16, 31, 32, 63]))
    frequencies = yarn_frequencies(SMALL)
    torch.testing.assert_close(
        angles[[0, 1, 3]], torch.stack([0 * frequencies, frequencies, 16 * frequencies])
    )
    wanted = [1 + 0.1 * math.log(step) for step in (1, 1, 1, 2, 2, 3, 4)]
    torch.testing.assert_close(scale[:, 0, 0], torch.tensor(wanted))


def test_turned_rotates_neighbours() -> None:
    """Channels 0 and 1 turn by the first angle, 2 and 3 by the second, in the sense that 0 goes to 1."""
    x = torch.tensor([[[1.0, 0.0, 0.0, 1.0]]])
    out = turned(x, torch.tensor([[0.3, 0.5]]))
    wanted = [math.cos(0.3), math.sin(0.3), -math.sin(0.5), math.cos(0.5)]
    torch.testing.assert_close(out[0, 0], torch.tensor(wanted))


def test_turned_keeps_lengths_and_tells_distances() -> None:
    """Every vector keeps its norm, and a product depends on how far apart the two positions are."""
    torch.manual_seed(0)
    frequencies = yarn_frequencies(SMALL)
    q, k = torch.randn(1, 2, 16), torch.randn(1, 2, 16)

    def at(x: Tensor, position: int) -> Tensor:
        return turned(x, position * frequencies[None])

    torch.testing.assert_close(at(q, 29).norm(dim=-1), q.norm(dim=-1))
    near, far, other = ((at(q, i) * at(k, j)).sum(-1) for i, j in ((7, 3), (47, 43), (7, 4)))
    torch.testing.assert_close(near, far, rtol=1e-4, atol=1e-4)
    assert (near - other).abs().min() > 0.01


def test_experts_are_a_loop_over_tokens() -> None:
    """Each token gets the weighted sum of its experts, and gradients agree, also where an expert has none."""
    torch.manual_seed(0)
    experts = Experts(SMALL, gain=1.0)
    x = torch.randn(9, SMALL.dim, requires_grad=True)
    chosen = torch.stack([torch.randperm(6)[:2] for _ in range(9)])  # of 8
    weights = torch.rand(9, 2)
    wanted = torch.stack([token_of(experts, x[t], chosen[t], weights[t]) for t in range(9)])
    out = experts(x, chosen, weights)
    torch.testing.assert_close(out, wanted)
    for mine, theirs in zip(gradients(out, experts, x), gradients(wanted, experts, x), strict=True):
        torch.testing.assert_close(mine, theirs)


def token_of(experts: Experts, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """What the experts make of one token [D]."""
    total = torch.zeros(SMALL.dim)
    for expert, weight in zip(chosen.tolist(), weights, strict=True):
        hidden = SMALL.expert_hidden_dim
        w1, w3 = experts.w13[expert, :, :hidden], experts.w13[expert, :, hidden:]
        total = total + weight * (functional.silu(x @ w1) * (x @ w3)) @ experts.w2[expert]
    return total


def gradients(out: Tensor, experts: Experts, x: Tensor) -> list[Tensor]:
    """Of a sum that tells channels apart."""
    weighted = (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum()
    return list(torch.autograd.grad(weighted, [experts.w13, experts.w2, x]))


def test_routing_says_who_was_chosen() -> None:
    """Shares count the choices and sum to 1 like the probabilities; the chosen ones' weights sum to 1 too."""
    torch.manual_seed(0)
    layer = MixtureLayer(SMALL, gain=1.0)
    x = torch.randn(50, SMALL.dim)
    angles, scale = Positions(SMALL)(torch.arange(50))
    out, probability, share = layer(x, angles, scale, 0, no_attention)
    normed = layer.ffn_norm(x)
    logits = layer.gate(normed)
    chosen = logits.argsort(-1, descending=True)[:, :2]
    torch.testing.assert_close(probability, logits.softmax(-1).mean(0))
    torch.testing.assert_close(share, torch.bincount(chosen.flatten(), minlength=8) / 100)
    # Renormalised weights are a softmax over the chosen ones only.
    weights = logits.gather(1, chosen).softmax(-1)
    wanted = x + layer.experts(normed, chosen, weights) + layer.shared_experts(normed)
    torch.testing.assert_close(out, wanted)


def test_feed_forward_gates_by_the_first_matrix() -> None:
    """w2(silu(w1 x) * w3 x), in which w1 and w3 cannot change places."""
    layer = FeedForward(1, 1)
    for weight, value in ((layer.w1, 1.0), (layer.w3, -2.0), (layer.w2, 3.0)):
        weight.weight.data.fill_(value)
    assert layer(torch.ones(1)).item() == pytest.approx(-6 / (1 + math.exp(-1)))
