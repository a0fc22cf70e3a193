"""Does a GPU engine's draft head pass as often as drafts are wanted?

Upstream's loop over passes runs, on a speculator that notes them.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.config.compilation import CUDAGraphMode
from vllm.v1.worker.gpu.spec_decode.autoregressive.speculator import AutoRegressiveSpeculator

from parallel.vllm_plugin import draft_passes

MOST = 3


class Head(AutoRegressiveSpeculator):
    """As much of a draft head as its later passes touch: each of them is a graph, which is noted."""

    def __init__(self) -> None:
        self.num_speculative_steps = MOST
        self.vllm_config: Any = None
        self.passes: list[int] = []
        zeros = torch.zeros(8, dtype=torch.int64)
        self.input_buffers: Any = SimpleNamespace(positions=zeros, query_start_loc=zeros)
        self.idx_mapping: Any = zeros
        self.current_draft_step = torch.tensor(0)
        self.decode_cudagraph_manager: Any = SimpleNamespace(
            run_fullgraph=lambda described: self.passes.append(int(self.current_draft_step))
        )

    def load_draft_model(self, *args: Any) -> Any:
        """Not asked for here."""
        raise NotImplementedError


class Runner:
    """A runner whose step is no more than the head's later passes."""

    def __init__(self, *, adapts: bool = True) -> None:
        self.vllm_config = SimpleNamespace(additional_config={"draft_length": {}} if adapts else {})
        self.speculator = Head()


@pytest.fixture(autouse=True)
def step_of_later_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of upstream's step."""
    described: Any = SimpleNamespace(cg_mode=CUDAGraphMode.FULL, num_tokens=2, num_reqs=2)

    def execute(runner: Any, scheduled: Any, *more: Any) -> Any:
        runner.speculator._multi_step_decode(2, True, described, None, None)
        return more

    monkeypatch.setattr(draft_passes, "_execute_upstream", execute)
    monkeypatch.setattr(AutoRegressiveSpeculator, "_multi_step_decode", draft_passes.multi_step_decode)


def passes(runner: Any, wanted: int) -> list[int]:
    """The later passes of a step for which the scheduler asks for so many drafts."""
    runner.speculator.passes.clear()
    scheduled = SimpleNamespace(num_spec_tokens_to_schedule=wanted)
    assert draft_passes.execute_model(runner, scheduled, None, False) == (None, False)
    assert runner.speculator.num_speculative_steps == MOST
    return list(runner.speculator.passes)


def test_the_head_passes_as_often_as_drafts_are_wanted() -> None:
    """The first pass has been before; a step asks for itself alone."""
    runner = Runner()
    assert [passes(runner, wanted) for wanted in (1, 2, 3, 1)] == [[], [1], [1, 2], []]


def test_where_nothing_is_asked_for_it_passes_for_all() -> None:
    """So does vLLM's warm-up."""
    runner = Runner()
    assert passes(runner, 1) == []
    assert passes(runner, 0) == [1, 2]


@pytest.mark.parametrize("adapts", [False, True])
def test_passes_are_graphs_of_their_own_where_their_number_changes(adapts: bool) -> None:
    """Upstream makes one of them all where the head's attention brings its metadata up to date itself."""
    head = Head()
    head.vllm_config = Runner(adapts=adapts).vllm_config
    group: Any = SimpleNamespace(supports_draft_decode_metadata_update=True)
    head.attn_groups = [[group]]
    draft_passes.configure(head)
    assert head.use_fused_multi_step_decode is not adapts


def test_an_engine_of_a_fixed_number_is_left_alone() -> None:
    """Whatever its scheduler says."""
    assert passes(Runner(adapts=False), 1) == [1, 2]


def test_a_failed_pass_changes_nothing_for_the_next_step() -> None:
    """The number of passes is the head's own afterwards."""
    runner = Runner()
    good = runner.speculator.decode_cudagraph_manager
    runner.speculator.decode_cudagraph_manager = None
    with pytest.raises(AssertionError):
        passes(runner, 2)
    runner.speculator.decode_cudagraph_manager = good
    assert passes(runner, 3) == [1, 2]
