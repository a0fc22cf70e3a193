"""Does an output layer in FP8 choose the tokens that the layer itself would choose?"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from parallel.vllm_plugin import FP8_DRAFT_OUTPUT
from parallel.vllm_plugin.draft_output import Fp8Output, quantised
from parallel.vllm_plugin.eagle import CompleteEagle

HIDDEN, VOCAB = 512, 4096


def layer(seed: int = 0) -> Any:
    """An output layer of random weights."""
    weight = torch.randn(VOCAB, HIDDEN, generator=torch.Generator().manual_seed(seed)) / HIDDEN**0.5
    return SimpleNamespace(weight=weight.bfloat16(), tp_size=1, shard_indices=None)


def states(number: int) -> torch.Tensor:
    """Hidden states [number, HIDDEN] of unlike sizes."""
    random = torch.Generator().manual_seed(1)
    sizes = torch.logspace(-2, 2, number)[:, None]
    return (torch.randn(number, HIDDEN, generator=random) * sizes).bfloat16()


def test_quantised_keeps_the_largest_and_is_near_the_rest() -> None:
    """A row's largest value is FP8's largest; others are off by a sixteenth of themselves, or a hair."""
    rows = states(8)
    values, scale = quantised(rows)
    assert (values.dtype, scale.shape) == (torch.float8_e4m3fn, (8, 1))
    assert values.float().abs().amax(-1).tolist() == [448.0] * 8
    off = (values.float() * scale - rows.float()).abs()
    assert bool((off <= rows.float().abs() / 16 + scale * 2**-9).all())


def test_a_row_of_zeros_stays_one() -> None:
    """No division by zero: padding has no states."""
    values, _ = quantised(torch.zeros(2, HIDDEN, dtype=torch.bfloat16))
    assert values.float().abs().max() == 0


def test_logits_are_near_those_of_the_layer() -> None:
    """Within 5 % of the spread of a row's logits, whatever the state's size; a bias is added."""
    full, hidden = layer(), states(16)
    expected = hidden.float() @ full.weight.float().t()
    logits = Fp8Output(full).apply(full, hidden)
    assert (logits.dtype, logits.shape) == (torch.bfloat16, (16, VOCAB))
    off = (logits.float() - expected).square().mean(-1).sqrt() / expected.std(-1)
    assert off.max() < 0.05
    bias = torch.arange(VOCAB, dtype=torch.bfloat16)
    assert torch.equal(Fp8Output(full).apply(full, hidden, bias), logits + bias)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_head_uses_the_copy_only_if_asked(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One copy, made of the layer that the head has when it is first used."""

    def construct(head: Any, **kwargs: Any) -> None:
        torch.nn.Module.__init__(head)
        head.model = torch.nn.Module()
        head.model.layers = torch.nn.ModuleList()
        head.lm_head = None

    monkeypatch.setattr(CompleteEagle.__base__, "__init__", construct)
    head: Any = CompleteEagle(vllm_config=SimpleNamespace(additional_config={FP8_DRAFT_OUTPUT: wanted}))
    used: list[Any] = []

    def process(output: Any, hidden: torch.Tensor) -> torch.Tensor:
        used.append(output)
        return hidden

    head.logits_processor, head.lm_head = process, layer()
    for _ in range(2):
        head.compute_logits(states(1))
    assert used[0] is used[1]
    assert isinstance(used[0], Fp8Output) is wanted
