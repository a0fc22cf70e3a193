"""Do sampling parameters reach the draft tokens of a CPU engine as they were given?"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from vllm.utils import cpu_triton_utils as upstream

from parallel.vllm_plugin import sampling_cpu

Expand = Callable[..., None]

TEMPERATURES = torch.tensor([0.7, 0.0, 1.5])
ENDS = torch.tensor([2, 3, 6])
"""Two draft tokens of the first request, one of the second, three of the third."""


def expanded(expand: Expand, values: torch.Tensor, replace_from: float, replace_to: float) -> list[float]:
    """What the six draft tokens get; -1 where nothing was written."""
    output = torch.full((6,), -1, dtype=values.dtype)
    expand(output, values, ENDS, replace_from, replace_to, MAX_NUM_TOKENS=32)
    written: list[float] = output.tolist()
    return written


def test_upstream_leaves_temperatures_unwritten() -> None:
    """The symptom: the kernel's result stays in a copy of another type."""
    written = expanded(upstream._expand_kernel_impl, TEMPERATURES, 0, 1)
    assert written == [-1.0] * 6


def test_temperatures_are_repeated_a_draft_token() -> None:
    """Greedy requests, which have 0, get what vLLM replaces it with."""
    assert expanded(sampling_cpu.expand, TEMPERATURES, 0, 1) == pytest.approx([0.7, 0.7, 1.0, 1.5, 1.5, 1.5])


def test_integers_are_repeated_too() -> None:
    """As top_k comes: int32, nothing to replace."""
    values = torch.tensor([5, 0, 9216], dtype=torch.int32)
    assert expanded(sampling_cpu.expand, values, 0, 0) == [5, 5, 0, 9216, 9216, 9216]


def test_requests_without_draft_tokens_take_no_place() -> None:
    """Two requests end at the same place: the second has nothing to write to."""
    output = torch.zeros(3)
    sampling_cpu.expand(output, torch.tensor([0.5, 0.6, 0.7]), torch.tensor([1, 1, 3]), 0, 1)
    assert output.tolist() == pytest.approx([0.5, 0.7, 0.7])


def test_installing_replaces_the_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU model runner finds it under the kernel's name, and calls it with a grid."""
    monkeypatch.setattr(upstream, "expand_kernel", upstream._FuncWrapper(upstream._expand_kernel_impl))
    assert not sampling_cpu.in_effect()
    sampling_cpu.install()
    installed: Any = upstream.expand_kernel
    sampling_cpu.install()
    assert upstream.expand_kernel is installed
    assert expanded(installed[(3,)], TEMPERATURES, 0, 1)[0] == pytest.approx(0.7)
