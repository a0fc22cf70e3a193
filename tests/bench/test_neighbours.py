"""What neighbours share, of choices that are known."""

import numpy as np
import pytest

from tests.bench.neighbours import NUM_CHOSEN, blocks, distinct, row, sticky


def test_distinct_experts_of_blocks() -> None:
    """By layer; tokens that fill no block are left out."""
    choices = np.array([[[0, 1], [0, 1]], [[1, 2], [0, 1]], [[3, 4], [5, 6]]])
    assert blocks(choices, 2).shape == (1, 2, 2, 2)
    assert distinct(blocks(choices, 2)).tolist() == [3.0, 2.0]


def test_nothing_is_shared_by_independent_tokens() -> None:
    """And all of it by tokens that choose as the one before them."""
    rng = np.random.default_rng(1)
    choices = rng.permuted(np.tile(np.arange(128), (8000, 1, 1)), axis=2)[..., :NUM_CHOSEN]
    found = row("independent", [choices], 4)
    assert found["shared"] == [pytest.approx(0.0, abs=0.01)]
    assert found["neighbours"] == [pytest.approx(found["alike"], rel=0.01)]
    same = row("same", [np.repeat(choices, 4, axis=0)], 4)
    assert same["shared"] == [pytest.approx(1.0)]


def test_a_simulated_block_shares_some() -> None:
    """More than none, less than all."""
    (shared,) = row("sticky", [sticky()], 4)["shared"]
    assert 0.2 < shared < 0.5
