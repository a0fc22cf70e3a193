"""The list of vLLM's engine arguments, held against the vLLM that is installed."""

import dataclasses
from typing import Any

import pytest

from parallel.engine_arguments import (
    CONTEXT_SPLITS,
    ENGINE_NAMES,
    NAMES,
    SERVER_NAMES,
    SPECULATION_NAMES,
    context_splits,
)

SPLITS = "flash_attn_max_num_splits_for_cuda_graph"


def test_the_list_is_vllms() -> None:
    """After a change of vLLM, this says which names to add to the list and which to strike out."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    fields = {field.name for field in dataclasses.fields(AsyncEngineArgs) if not field.name.startswith("_")}
    difference = {"to add": sorted(fields - ENGINE_NAMES), "to strike out": sorted(ENGINE_NAMES - fields)}
    print(difference)
    assert difference == {"to add": [], "to strike out": []}


def test_the_list_of_speculation_is_vllms() -> None:
    """What vLLM fills in itself is no setting."""
    from vllm.config import SpeculativeConfig

    filled_in = {
        "target_model_config",
        "target_parallel_config",
        "draft_model_config",
        "draft_parallel_config",
    }
    fields = {field.name for field in dataclasses.fields(SpeculativeConfig)}
    assert fields - SPECULATION_NAMES == filled_in
    assert fields >= SPECULATION_NAMES


def test_the_servers_arguments_are_apart() -> None:
    """An argument is the engine's or the server's, never both."""
    assert not ENGINE_NAMES & SERVER_NAMES
    assert NAMES >= ENGINE_NAMES


def test_parts_of_a_context_are_vllms() -> None:
    """By itself as many as vLLM has, and those that are given."""
    from vllm.config import AttentionConfig

    assert getattr(AttentionConfig(), SPLITS) == CONTEXT_SPLITS
    assert context_splits({}) == context_splits({"attention_config": {"backend": "x"}}) == CONTEXT_SPLITS
    assert context_splits({"attention_config": {SPLITS: 8}}) == 8


@pytest.mark.parametrize("given", [0, -1, 2.5, "8", True, None])
def test_a_number_of_parts_is_one(given: Any) -> None:
    """By its name, with what was given."""
    with pytest.raises(ValueError, match=rf"attention_config.{SPLITS}={given!r} must be a whole number"):
        context_splits({"attention_config": {SPLITS: given}})
