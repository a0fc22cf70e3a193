"""How large are random weights in NVFP4?"""

import pytest
import torch
from vllm.model_executor.model_loader import dummy_loader

from parallel.vllm_plugin import dummy_scales


class Experts(torch.nn.Module):
    """The tensors of one layer of experts, as a checkpoint in NVFP4 names them."""

    def __init__(self) -> None:
        super().__init__()
        for name, shape, dtype in (
            ("w2_weight_packed", (4, 8, 16), torch.uint8),
            ("w2_weight_scale", (4, 8, 2), torch.float8_e4m3fn),
            ("w2_weight_global_scale", (4,), torch.float32),
            ("w2_input_global_scale", (4,), torch.float32),
        ):
            values = torch.empty(shape, dtype=dtype)
            self.register_parameter(name, torch.nn.Parameter(values, requires_grad=False))

    @property
    def growth(self) -> torch.Tensor:
        """By how much the scale of the whole tensor makes each expert's weights larger."""
        return (1 / self.w2_weight_global_scale).abs()


def test_upstream_makes_them_grow() -> None:
    """The symptom: weights a thousand times as large as their own scales say, or more."""
    experts = Experts()
    dummy_scales._initialize_upstream(experts, None)
    assert experts.growth.min() >= 1000


def test_ours_are_as_large_as_a_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed once or twice; the rest is drawn as before."""
    monkeypatch.setattr(dummy_loader, "initialize_dummy_weights", dummy_scales._initialize_upstream)
    assert not dummy_scales.in_effect()
    dummy_scales.install()
    dummy_scales.install()
    assert dummy_scales.in_effect()
    ours, upstreams = Experts(), Experts()
    dummy_loader.initialize_dummy_weights(ours, None)
    dummy_scales._initialize_upstream(upstreams, None)
    assert ours.growth.max() == pytest.approx(1e-4)
    assert torch.equal(ours.w2_weight_scale.float(), upstreams.w2_weight_scale.float())
