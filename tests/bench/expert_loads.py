"""What may the load of experts look like, window after window?

Popularities are made up; the counts of a window are drawn from them, as routed tokens would be.
"""

from collections.abc import Callable

import numpy as np

from parallel.placement.maps import Floats

Rng = np.random.Generator
TOKENS = 128_000
"""Tokens a window: vLLM's 1,000 steps of 128 sequences."""
ACTIVE = 4
"""Experts that each of them is routed to."""


def uneven(rng: Rng, windows: int, layers: int, experts: int) -> Floats:
    """Independent popularities from a gamma distribution of shape 2; the same in all windows."""
    return np.broadcast_to(rng.gamma(2.0, size=(layers, experts)), (windows, layers, experts))


def zipf(rng: Rng, windows: int, layers: int, experts: int) -> Floats:
    """The nth most popular expert has 1/n of the first one's tokens; the same in all windows."""
    order = rng.permuted(np.tile(np.arange(1.0, experts + 1), (layers, 1)), axis=1)
    return np.broadcast_to(1 / order, (windows, layers, experts))


def clustered(rng: Rng, windows: int, layers: int, experts: int) -> Floats:
    """Sixteen neighbours are popular or unpopular together; which, changes halfway."""
    size = max(1, min(16, experts // 4))
    each = rng.gamma(4.0, size=(1, layers, experts))
    of_group = rng.lognormal(sigma=1.0, size=(2, layers, -(-experts // size)))
    half = np.arange(windows) * 2 // windows
    popularity: Floats = each * np.repeat(of_group, size, axis=2)[half, :, :experts]
    return popularity


def drifting(rng: Rng, windows: int, layers: int, experts: int) -> Floats:
    """Log-normal popularities that forget a tenth of themselves from one window to the next."""
    state = rng.normal(size=(layers, experts))
    states = []
    for _ in range(windows):
        states.append(state)
        state = 0.9 * state + np.sqrt(1 - 0.9**2) * rng.normal(size=state.shape)
    return np.exp(0.8 * np.array(states))


KINDS: dict[str, Callable[[Rng, int, int, int], Floats]] = {
    "random": uneven,
    "zipf": zipf,
    "clustered": clustered,
    "drifting": drifting,
}


def counts(kind: str, seed: int, windows: int, layers: int, experts: int) -> Floats:
    """[windows, layers, experts]: tokens routed to each expert."""
    rng = np.random.default_rng(seed)
    popularity = KINDS[kind](rng, windows, layers, experts)
    expected = TOKENS * ACTIVE * popularity / popularity.sum(axis=2, keepdims=True)
    return np.asarray(rng.poisson(expected), dtype=np.float64)
