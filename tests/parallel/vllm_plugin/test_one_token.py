"""Is a single token right when tp ranks hand on shares? VLLM's own layers on two ranks, here two threads.

Attention and experts are replaced by sums that come out exact, collectives by an exchange between threads.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.model_executor.models import deepseek_v2 as upstream
from vllm.model_executor.models.mistral_large_3 import MistralLarge3ForCausalLM

from parallel.vllm_plugin import one_token

NUM_RANKS, NUM_LAYERS, WIDTH = 2, 3, 2

Gather = Callable[[torch.Tensor, int], torch.Tensor]


class Ranks:
    """The tp group: each thread is a rank, and a collective waits for both."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._brought: list[torch.Tensor] = [torch.empty(0)] * NUM_RANKS
        self._all_here = threading.Barrier(NUM_RANKS, timeout=10)

    def run(self, work: Callable[[int], torch.Tensor]) -> list[torch.Tensor]:
        """What `work` gives on each rank."""

        def as_rank(rank: int) -> torch.Tensor:
            self._mine.rank = rank
            return work(rank)

        with ThreadPoolExecutor(NUM_RANKS) as pool:
            return list(pool.map(as_rank, range(NUM_RANKS)))

    def _everyone(self, own: torch.Tensor) -> list[torch.Tensor]:
        self._brought[self._mine.rank] = own
        self._all_here.wait()
        found = list(self._brought)
        self._all_here.wait()
        return found

    def all_gather(self, own: torch.Tensor, dim: int) -> torch.Tensor:
        """All ranks' rows."""
        return torch.cat(self._everyone(own), dim)

    def reduce_scatter(self, own: torch.Tensor, dim: int) -> torch.Tensor:
        """This rank's share of the sum."""
        return self.chunk(torch.stack(self._everyone(own)).sum(0))

    def chunk(self, states: torch.Tensor) -> torch.Tensor:
        """This rank's share of the rows, padded to equal shares as vLLM does it."""
        padded = torch.nn.functional.pad(states, (0, 0, 0, -len(states) % NUM_RANKS))
        return padded.chunk(NUM_RANKS)[self._mine.rank]


class Sum(torch.nn.Module):
    """In the place of a norm: adds the residual, as vLLM's norms do."""

    def forward(self, states: torch.Tensor, residual: torch.Tensor | None = None) -> Any:
        """The sum, twice; or the states as they are."""
        return states if residual is None else (states + residual, states + residual)


class Attention(torch.nn.Module):
    """A tp rank's part of an attention: the ranks' parts add up to three times the input."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def forward(self, positions: torch.Tensor, states: torch.Tensor, *_: Any) -> torch.Tensor:
        """One or two times the input, by rank; for the ranks must see the same rows."""
        assert len(states) == len(positions)
        return states * (self.rank + 1)


class Experts(torch.nn.Module):
    """Experts over all ranks: each row by itself."""

    def forward(self, states: torch.Tensor, already_sequence_parallel: bool) -> torch.Tensor:
        """Something for nothing, so that padding is no longer zero."""
        assert already_sequence_parallel
        return states + 1


def layer(rank: int) -> Any:
    """A decoder layer of vLLM's, but for its parts."""
    made = upstream.DeepseekV2DecoderLayer.__new__(upstream.DeepseekV2DecoderLayer)
    torch.nn.Module.__init__(made)
    made.use_sequence_parallel_moe, made.use_mha = True, False
    made.self_attn, made.mlp = Attention(rank), Experts()
    made.input_layernorm, made.post_attention_layernorm = Sum(), Sum()
    return made


def model(rank: int) -> Any:
    """As much of vLLM's model as its `forward` uses."""
    return SimpleNamespace(
        config=SimpleNamespace(),
        hidden_size=WIDTH,
        layers=torch.nn.ModuleList(layer(rank) for _ in range(NUM_LAYERS)),
        start_layer=0,
        end_layer=NUM_LAYERS,
        aux_hidden_state_layers=(),
        norm=Sum(),
    )


def wanted(states: torch.Tensor) -> torch.Tensor:
    """What the layers give on one rank."""
    for _ in range(NUM_LAYERS):
        attended = states + 3 * states
        states = attended + attended + 1
    return states


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """Two ranks in the place of vLLM's tp group."""
    group = Ranks()
    monkeypatch.setattr(upstream, "tensor_model_parallel_all_gather", group.all_gather)
    monkeypatch.setattr(upstream, "tensor_model_parallel_reduce_scatter", group.reduce_scatter)
    monkeypatch.setattr(upstream, "get_tensor_model_parallel_world_size", lambda: NUM_RANKS)
    monkeypatch.setattr(upstream, "sequence_parallel_chunk", group.chunk)
    only_stage = SimpleNamespace(is_first_rank=True, is_last_rank=True)
    monkeypatch.setattr(upstream, "get_pp_group", lambda: only_stage)
    monkeypatch.setattr(one_token, "tensor_model_parallel_all_gather", group.all_gather)
    return group


def outputs(ranks: Ranks, states: torch.Tensor, make: Callable[[int], Any]) -> list[torch.Tensor]:
    """What vLLM's model gives for these states on each rank."""
    positions = torch.arange(len(states))

    def forward(rank: int) -> torch.Tensor:
        return upstream.DeepseekV2Model.forward(make(rank), None, positions, None, states)

    return ranks.run(forward)


def mended(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """How the plugin's class makes its model; only the weights are left out."""

    def text_model(self: Any, *, vllm_config: Any, prefix: str) -> None:
        torch.nn.Module.__init__(self)
        object.__setattr__(self, "model", model(vllm_config))

    monkeypatch.setattr(MistralLarge3ForCausalLM, "__init__", text_model)
    return lambda rank: one_token.OneTokenMistral(vllm_config=rank).model


def states_of(num_tokens: int) -> torch.Tensor:
    """Whole numbers [num_tokens, WIDTH]."""
    return torch.arange(1.0, 1 + num_tokens * WIDTH).reshape(num_tokens, WIDTH)


def test_upstream_loses_a_single_token(ranks: Ranks) -> None:
    """The symptom: right for two tokens and more, wrong for one, and not even the same on both ranks."""
    for num_tokens in (2, 3, 4):
        states = states_of(num_tokens)
        assert all(torch.equal(found, wanted(states)) for found in outputs(ranks, states, model))
    first, second = outputs(ranks, states_of(1), model)
    assert not torch.equal(first, wanted(states_of(1)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("num_tokens", [1, 2, 3, 4])
def test_any_number_of_tokens_is_right(
    ranks: Ranks, monkeypatch: pytest.MonkeyPatch, num_tokens: int
) -> None:
    """With the plugin's class every rank has what one rank alone would have."""
    states = states_of(num_tokens)
    found = outputs(ranks, states, mended(monkeypatch))
    assert all(torch.equal(of_rank, wanted(states)) for of_rank in found)
