"""How long does a collective take over a link?

Each is a latency that grows with the logarithm of the number of ranks, and the bytes that every rank must
send at the least (ring algorithms) over the share of the link's peak that is reached.
"""

import math

from parallel.hardware import Link


def all_reduce_s(num_bytes: float, num_ranks: int, link: Link, efficiency: float) -> float:
    """Seconds to sum `num_bytes` of each rank on every rank: 2 (R - 1) / R of them are sent."""
    return 2 * all_gather_s(num_bytes, num_ranks, link, efficiency) - _latency_s(num_ranks, link)


def all_gather_s(num_bytes: float, num_ranks: int, link: Link, efficiency: float) -> float:
    """Seconds until each rank has `num_bytes`, of which it had one part in R: the others are sent.

    A reduce-scatter of as many bytes is the same, backwards.
    """
    if num_ranks == 1:
        return 0.0
    sent = num_bytes * (num_ranks - 1) / num_ranks
    return _latency_s(num_ranks, link) + sent / (link.bytes_per_s * efficiency)


def _latency_s(num_ranks: int, link: Link) -> float:
    return link.latency_s * math.log2(num_ranks)
