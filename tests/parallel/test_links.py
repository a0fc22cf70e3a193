"""Collectives: what one rank pays, what bytes cost, and what a hop does."""

import pytest

from parallel.hardware import H200, Link
from parallel.links import all_gather_s, all_reduce_s

LINK = Link("toy", bytes_per_s=1e9, latency_s=1e-6)


def test_one_rank_talks_to_nobody() -> None:
    """Alone, nothing is sent."""
    assert all_reduce_s(1e9, 1, LINK, 1.0) == all_gather_s(1e9, 1, LINK, 1.0) == 0


@pytest.mark.parametrize(("num_ranks", "hops"), [(2, 1), (4, 2), (8, 3)])
def test_bytes_and_hops(num_ranks: int, hops: int) -> None:
    """A ring sends (R - 1) / R of the bytes to gather them, twice that to sum them."""
    sent_s = (num_ranks - 1) / num_ranks
    assert all_gather_s(1e9, num_ranks, LINK, 1.0) == pytest.approx(sent_s + hops * 1e-6)
    assert all_reduce_s(1e9, num_ranks, LINK, 1.0) == pytest.approx(2 * sent_s + hops * 1e-6)
    assert all_gather_s(1e9, num_ranks, LINK, 0.5) == pytest.approx(2 * sent_s + hops * 1e-6)


def test_nodes_are_further_apart() -> None:
    """The same sum takes longer over the network."""
    assert all_reduce_s(1e6, 2, H200.network, 0.7) > all_reduce_s(1e6, 2, H200.link, 0.7)
