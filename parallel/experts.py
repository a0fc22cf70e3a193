"""How many different experts does a batch touch, on the whole and on the busiest rank?

Decoding reads from memory each expert that any token of the batch has chosen, once. So the number of
*distinct* experts, and not of tokens, is what a step of a sparse model costs.
"""

import math
from statistics import NormalDist


def distinct_experts(
    num_experts: int, experts_per_token: int, num_tokens: float, correlation: float = 0.0
) -> float:
    """Expected number of distinct experts that a layer of `num_experts` E uses for `num_tokens` tokens.

    Each token chooses k different ones. If tokens choose alike and independently of each other, an
    expert stays unused with probability (1 - k/E)^n, hence E (1 - (1 - k/E)^n). `correlation` is in
    [0, 1], and a property of routing that has to be measured: of each further token, only the share
    1 - correlation counts as a choice of its own, so 0 is the uniform case and 1 is a batch that agrees.

    Grows with `num_tokens`, from 0 at none to at most E. ValueError for a correlation outside [0, 1].
    """
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation={correlation} must be from 0 to 1")
    independent = num_tokens if num_tokens <= 1 else 1 + (num_tokens - 1) * (1 - correlation)
    unused: float = (1 - experts_per_token / num_experts) ** independent
    return num_experts * (1 - unused)


def busiest_rank(total: float, num_ranks: int, most: float = math.inf) -> float:
    """Expected share of the busiest of `num_ranks` ranks, when `total` items fall on them by chance.

    Mean plus the expected maximum of as many normal deviations: that of the binomial with `most` places
    a rank (a Poisson one without `most`), and Blom's approximation (1958) of the greatest of R normals,
    inv_cdf((R - 0.375) / (R + 0.25)). At least the mean, at most `total` and `most`.
    """
    if num_ranks == 1:
        return total
    mean = total / num_ranks
    deviation = math.sqrt(mean * max(0.0, 1 - mean / most))
    above = NormalDist().inv_cdf((num_ranks - 0.375) / (num_ranks + 0.25)) * deviation
    return min(mean + above, total, most)
