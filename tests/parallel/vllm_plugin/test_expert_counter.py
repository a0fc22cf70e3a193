"""Whether choices of experts are counted, all of them and no others, without an engine."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

from parallel.vllm_plugin import expert_counter
from parallel.vllm_plugin.expert_counter import ExpertCounter, attach, slots_of

NUM_EXPERTS = 8
CHOSEN = torch.tensor([[0, 5], [5, 7], [5, 0]], dtype=torch.int32)
COUNTED = [2, 0, 0, 0, 0, 3, 0, 1]


class Router:
    """What vLLM's routers offer to whoever wants to see their choice."""

    capture_fn: Any = None

    def set_capture_fn(self, capture_fn: Any) -> None:
        """Take the function."""
        self.capture_fn = capture_fn


class Reporting:
    """What vLLM's experts offer that choose by themselves and report it."""

    routing_replay_capture_fn: Any = None

    def supports_routing_replay_capture(self) -> bool:
        """They do."""
        return True

    def set_capture_fn(self, capture_fn: Any) -> None:
        """Take the function."""
        self.routing_replay_capture_fn = capture_fn


class Layer(torch.nn.Module):
    """One layer with experts, as far as the counter looks at it."""

    def __init__(self, layer_id: int, experts: Any = None) -> None:
        super().__init__()
        self.layer_id = layer_id
        self.router = Router()
        kernel = SimpleNamespace(impl=SimpleNamespace(fused_experts=experts))
        self._quant_method = SimpleNamespace(is_monolithic=experts is not None, moe_kernel=kernel)


@pytest.fixture
def layers(monkeypatch: pytest.MonkeyPatch) -> list[Layer]:
    """Two layers that the counter takes for vLLM's."""
    monkeypatch.setattr(expert_counter, "MoERunner", Layer)
    return [Layer(0), Layer(1)]


def padded(monkeypatch: pytest.MonkeyPatch, slots: Any) -> None:
    """Let vLLM say which rows of this step have a place in the KV cache."""
    context = SimpleNamespace(slot_mapping=slots)
    monkeypatch.setattr(expert_counter, "is_forward_context_available", lambda: True)
    monkeypatch.setattr(expert_counter, "get_forward_context", lambda: context)


def test_each_layer_has_its_row(layers: list[Layer]) -> None:
    """Choices are added to those of their own layer, step after step, in the same tensor."""
    counter = ExpertCounter(torch.nn.ModuleList(layers), NUM_EXPERTS, torch.device("cpu"))
    place = counter.counts.data_ptr()
    for _ in range(2):
        layers[1].router.capture_fn(CHOSEN)
    assert counter.counts.tolist() == [[0] * NUM_EXPERTS, [2 * one for one in COUNTED]]
    assert counter.counts.data_ptr() == place


def test_a_step_without_tokens(layers: list[Layer], monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank may have none, and counts none."""
    counter = ExpertCounter(torch.nn.ModuleList(layers), NUM_EXPERTS, torch.device("cpu"))
    padded(monkeypatch, {"layer": torch.tensor([], dtype=torch.int64)})
    layers[0].router.capture_fn(CHOSEN[:0])
    assert not counter.counts.any()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_numbers_of_any_type(layers: list[Layer], dtype: torch.dtype) -> None:
    """Kernels name experts in integers of different widths."""
    counter = ExpertCounter(torch.nn.ModuleList(layers), NUM_EXPERTS, torch.device("cpu"))
    layers[0].router.capture_fn(CHOSEN.to(dtype))
    assert counter.counts[0].tolist() == COUNTED


def test_rows_that_only_pad_do_not_count(layers: list[Layer], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without a place in the KV cache is of no request."""
    counter = ExpertCounter(torch.nn.ModuleList(layers), NUM_EXPERTS, torch.device("cpu"))
    padded(monkeypatch, {"layer": torch.tensor([17, 3, -1])})
    for layer in layers:
        layer.router.capture_fn(CHOSEN)
    assert counter.counts.tolist() == [[1, 0, 0, 0, 0, 2, 0, 1]] * 2
    padded(monkeypatch, {"layer": torch.tensor([17, -1, -1])})  # the next step, of the same size
    for layer in layers:
        layer.router.capture_fn(CHOSEN)
    assert counter.counts.tolist() == [[2, 0, 0, 0, 0, 3, 0, 1]] * 2
    padded(monkeypatch, {"layer": torch.tensor([17, 4, 5])})
    for layer in layers:
        layer.router.capture_fn(CHOSEN)
    assert counter.counts.tolist() == [[4, 0, 0, 0, 0, 6, 0, 2]] * 2


@pytest.mark.parametrize(
    "slots",
    [{}, [{"layer": torch.tensor([17, 3, -1])}], {"layer": torch.tensor([17, -1])}],
    ids=["none", "in pieces", "of one rank among several"],
)
def test_rows_that_nothing_is_known_of_count(
    layers: list[Layer], monkeypatch: pytest.MonkeyPatch, slots: Any
) -> None:
    """Where rows are not those of the KV cache's list, all of them count."""
    counter = ExpertCounter(torch.nn.ModuleList(layers), NUM_EXPERTS, torch.device("cpu"))
    padded(monkeypatch, slots)
    assert slots_of(CHOSEN) is None
    layers[0].router.capture_fn(CHOSEN)
    assert counter.counts[0].tolist() == COUNTED


def test_who_was_there_first_still_sees_the_choice(layers: list[Layer]) -> None:
    """VLLM's own hook, for returning the routed experts, goes on beside the counter."""
    seen: list[torch.Tensor] = []
    layers[0].router.set_capture_fn(seen.append)
    counter = ExpertCounter(torch.nn.ModuleList(layers), NUM_EXPERTS, torch.device("cpu"))
    layers[0].router.capture_fn(CHOSEN)
    assert torch.equal(seen[0], CHOSEN)
    assert counter.counts[0].tolist() == COUNTED


def test_kernels_that_choose_by_themselves(layers: list[Layer]) -> None:
    """Experts that report their choice are counted there; upstream's of the CPU do not, and stay without."""
    seen: list[torch.Tensor] = []
    experts = Reporting()
    assert attach(Layer(0, experts), seen.append)
    experts.routing_replay_capture_fn(CHOSEN)
    assert torch.equal(seen[0], CHOSEN)
    mute = CPUUnquantizedExperts.__new__(CPUUnquantizedExperts)
    assert not attach(Layer(0, mute), seen.append)
    counter = ExpertCounter(
        torch.nn.ModuleList([layers[0], Layer(1, mute)]), NUM_EXPERTS, torch.device("cpu")
    )
    assert counter.counts.shape == (2, NUM_EXPERTS)
