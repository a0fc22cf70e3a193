"""Is every step of an engine whose number of drafts changes a whole CUDA graph?

Upstream's managers of graphs work out which ones they record, and which of them a step gets, without a GPU.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from vllm.config.compilation import CUDAGraphMode
from vllm.v1.worker.gpu.cudagraph_utils import CudaGraphManager

from parallel.vllm_plugin import draft_graphs

MOST = 3
PLACES = 8
SIZES = [1, 2, 4, 8, 16, 24, 32]


def manager(query_tokens: int, *, adapts: bool = True, schedule: Any = None, places: int = PLACES) -> Any:
    """Upstream's manager of graphs for steps of so many tokens a request, before anything is recorded."""
    made: Any = object.__new__(CudaGraphManager)
    made.vllm_config = SimpleNamespace(
        additional_config={"draft_length": {}} if adapts else {},
        num_speculative_tokens=MOST,
        speculative_config=SimpleNamespace(
            uses_dynamic_speculative_decoding=lambda: schedule is not None,
            num_speculative_tokens_per_batch_size=schedule,
        ),
    )
    made.compilation_config = SimpleNamespace(
        cudagraph_capture_sizes=SIZES, max_cudagraph_capture_size=max(SIZES)
    )
    modes = CUDAGraphMode.FULL_DECODE_ONLY, CUDAGraphMode.FULL_AND_PIECEWISE
    made.cudagraph_mode = modes[query_tokens > 1]
    made.max_num_reqs, made.decode_query_len, made.varlen_decode = places, query_tokens, False
    made.lora_capture_cases, made._lora_dispatch_map = [0], {}
    made._candidates, made._capture_descs = {}, {}
    draft_graphs.candidates(made)
    made._graphs_captured = True
    return made


def lengths(of: Any) -> set[int]:
    """Tokens a request of the whole graphs that a manager records."""
    return {described.uniform_token_count for described in of._capture_descs[CUDAGraphMode.FULL]}


def graph(of: Any, requests: int, length: int) -> Any:
    """What a step of so many tokens of each request runs as."""
    return of.dispatch(requests, requests * length, length, 0)


def test_upstream_records_the_largest_number_alone() -> None:
    """Steps that verify fewer drafts have graphs in pieces."""
    found = manager(MOST + 1, adapts=False)
    assert lengths(found) == {MOST + 1}
    assert graph(found, 2, 2).cg_mode == CUDAGraphMode.PIECEWISE


def test_upstream_ends_with_a_schedule_of_one_less() -> None:
    """The passes of the head are counted by it too; the fix can go once this fails."""
    with pytest.raises(ZeroDivisionError):
        manager(1, adapts=False, schedule=[(1, 1, MOST), (2, PLACES, MOST - 1)])


@pytest.mark.parametrize("length", range(1, MOST + 2))
@pytest.mark.parametrize("requests", [1, 2, 3, 5, PLACES])
def test_every_step_is_a_whole_graph(requests: int, length: int) -> None:
    """The smallest of its length that holds it."""
    found = manager(MOST + 1)
    run = graph(found, requests, length)
    assert run.cg_mode == CUDAGraphMode.FULL
    assert run.uniform_token_count == length
    large_enough = [
        described.num_reqs
        for described in found._capture_descs[CUDAGraphMode.FULL]
        if described.uniform_token_count == length and described.num_reqs >= requests
    ]
    assert run.num_reqs == min(large_enough)


def test_steps_that_read_prompts_run_in_pieces() -> None:
    """And what is larger than every graph in none."""
    found = manager(MOST + 1)
    assert found.dispatch(2, 19, None, 0).cg_mode == CUDAGraphMode.PIECEWISE
    assert found.dispatch(2, 33, None, 0).cg_mode == CUDAGraphMode.NONE


def test_later_passes_of_the_head_are_of_one_token() -> None:
    """Whatever the target verifies."""
    assert lengths(manager(1)) == {1}


def test_few_places() -> None:
    """As many numbers as there are places: the largest first, since every engine begins with it."""
    assert lengths(manager(MOST + 1, places=2)) == {MOST + 1, 1}


def test_the_configuration_is_left_alone() -> None:
    """It is shared with all that the worker has."""
    found = manager(MOST + 1)
    assert found.vllm_config.num_speculative_tokens == MOST
    assert not isinstance(found.vllm_config, draft_graphs.Scheduled)


def test_without_drafts_nothing_changes() -> None:
    """An engine without a draft head has graphs of one token a request."""
    plain = manager(1, adapts=False)
    plain.vllm_config.speculative_config = None
    draft_graphs.candidates(plain)
    assert lengths(plain) == {1}
