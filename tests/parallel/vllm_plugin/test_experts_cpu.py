"""Do ranks that each hold half of the experts add up to one that holds them all?"""

import sys
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm._custom_ops import cpu_prepack_moe_weight
from vllm.model_executor.custom_op import op_registry_oot
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.config import FusedMoEQuantConfig
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

from parallel.vllm_plugin import experts_cpu

NUM_TOKENS, DIM, HIDDEN, NUM_EXPERTS, ACTIVE = 9, 64, 32, 8, 3
DIFFERS = 3
"""Exit status of a process whose ranks do not add up."""


def experts(kind: type[CPUUnquantizedExperts]) -> Any:
    """Experts as vLLM sets them up for a softmax router with renormalised weights."""
    unset = (
        "swiglu_limit",
        "swiglu_alpha",
        "swiglu_beta",
        "activation_situ_beta",
        "activation_situ_linear_beta",
    )
    config = SimpleNamespace(experts_per_token=ACTIVE, **dict.fromkeys(unset))
    made = kind(config, FusedMoEQuantConfig.make())
    made.renormalize = True
    return made


def output(made: Any, held: slice, expert_map: torch.Tensor | None) -> torch.Tensor:
    """What the experts in `held` make of fixed tokens and router logits: [T, D]."""
    generator = torch.Generator().manual_seed(0)
    tokens, logits = (torch.randn(NUM_TOKENS, size, generator=generator) for size in (DIM, NUM_EXPERTS))
    w1 = torch.randn(NUM_EXPERTS, 2 * HIDDEN, DIM, generator=generator) / DIM**0.5
    w2 = torch.randn(NUM_EXPERTS, DIM, HIDDEN, generator=generator) / HIDDEN**0.5
    packed = [cpu_prepack_moe_weight(weight[held].contiguous(), made.isa) for weight in (w1, w2)]
    result: torch.Tensor = made.apply(
        tokens, *packed, logits, MoEActivation.SILU, NUM_EXPERTS, expert_map, None, False
    )
    return result


def halves(made: Any) -> torch.Tensor:
    """The sum of two ranks' outputs, each with half of the experts."""
    total = torch.zeros(NUM_TOKENS, DIM)
    for rank in range(2):
        held = slice(rank * NUM_EXPERTS // 2, (rank + 1) * NUM_EXPERTS // 2)
        expert_map = torch.full((NUM_EXPERTS,), -1, dtype=torch.int32)
        expert_map[held] = torch.arange(NUM_EXPERTS // 2, dtype=torch.int32)
        total += output(made, held, expert_map)
    return total


def test_two_ranks_add_up_to_one() -> None:
    """The sum over ranks is the output of a rank with all experts."""
    whole = output(experts(CPUUnquantizedExperts), slice(None), None)
    torch.testing.assert_close(
        halves(experts(experts_cpu.localised(CPUUnquantizedExperts))), whole, rtol=0, atol=1e-5
    )


def test_without_a_map_nothing_changes() -> None:
    """A rank with all experts gives bit for bit what upstream's class gives."""
    whole = output(experts(CPUUnquantizedExperts), slice(None), None)
    assert torch.equal(
        output(experts(experts_cpu.localised(CPUUnquantizedExperts)), slice(None), None), whole
    )


def upstream_on_halves() -> None:
    """Exit with `DIFFERS` if two ranks of upstream's class do not add up to one; it may also crash."""
    whole = output(experts(CPUUnquantizedExperts), slice(None), None)
    if not torch.allclose(halves(experts(CPUUnquantizedExperts)), whole, atol=1e-5):
        sys.exit(DIFFERS)


def test_upstream_reads_past_its_weights() -> None:
    """Upstream's class on half of the experts crashes, or gives something else: the map is ignored."""
    process = get_context("forkserver").Process(target=upstream_on_halves)
    process.start()
    process.join()
    assert process.exitcode is not None
    assert process.exitcode < 0 or process.exitcode == DIFFERS


def test_routing_is_translated() -> None:
    """Choices held here get their local number, choices held elsewhere weight 0."""
    weights, local = experts_cpu.to_local(
        torch.tensor([[0.7, 0.3], [0.6, 0.4]]),
        torch.tensor([[5, 0], [2, 4]], dtype=torch.int32),
        torch.tensor([-1, -1, -1, 0, 1, 2], dtype=torch.int32),
    )
    assert local.tolist() == [[2, 0], [0, 1]]
    torch.testing.assert_close(weights, torch.tensor([[0.7, 0.0], [0.0, 0.4]]))
    assert (weights.dtype, local.dtype) == (torch.float32, torch.int32)


def test_the_choice_is_reported_by_model_wide_numbers() -> None:
    """Who asked for the routed experts gets every token's, before translation."""
    made = experts(experts_cpu.localised(CPUUnquantizedExperts))
    assert made.supports_routing_replay_capture()
    seen: list[torch.Tensor] = []
    made.routing_replay_capture_fn = seen.append
    halves(made)
    assert [choice.shape for choice in seen] == [(NUM_TOKENS, ACTIVE)] * 2
    assert torch.equal(seen[0], seen[1])
    assert int(seen[0].max()) >= NUM_EXPERTS // 2


def test_upstream_reports_nothing() -> None:
    """Upstream's class says that it cannot report its choice."""
    assert not experts(CPUUnquantizedExperts).supports_routing_replay_capture()


def test_installing_happens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """VLLM refuses a second class for the same name, so a second call must not offer one."""
    monkeypatch.delitem(op_registry_oot, experts_cpu.REPLACED, raising=False)
    experts_cpu.install()
    experts_cpu.install()
    assert op_registry_oot[experts_cpu.REPLACED] is experts_cpu.LocalMoEMethod
