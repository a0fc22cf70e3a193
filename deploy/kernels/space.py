"""Which configurations of the expert kernel are worth trying for a batch?

The kernel multiplies tiles: `block_m` tokens of one expert by `block_n` columns of its matrix, `block_k` of
the sum at a time, with `stages` tiles in flight in shared memory. A rule drops what cannot win or run:

- shared memory: stages * (block_m + block_n) * block_k bytes (FP8) must fit a block of Hopper, 227 KiB;
- registers: at most 128 float32 of the accumulator a thread;
- block_m near the tokens that an expert has, since the rest of a tile is padding;
- eight warps only for tiles that give each of them work;
- groups of tiles (`group_m`, for reuse in L2) only where experts have several tiles of tokens.
"""

from collections.abc import Iterator
from typing import NamedTuple

from deploy.kernels.shapes import Shape

SHARED_BYTES = 227 * 1024
"""What one block of threads may have on compute capability 9.0 (CUDA C++ Programming Guide)."""

ACCUMULATORS_A_THREAD = 128

VALUES = {
    "block_m": (16, 32, 64, 128),
    "block_n": (32, 64, 128, 256),
    "block_k": (64, 128, 256, 512),
    "group_m": (1, 4, 16, 64),
    "warps": (4, 8),
    "stages": (2, 3, 4, 5, 6),
}


class Config(NamedTuple):
    """One configuration of vLLM's fused_moe_kernel."""

    block_m: int
    block_n: int
    block_k: int
    group_m: int
    warps: int
    stages: int

    @classmethod
    def from_vllm(cls, values: dict[str, int]) -> "Config":
        """Read vLLM's form of it."""
        return cls(*(values[key] for key in _VLLM_KEYS))

    def to_vllm(self) -> dict[str, int]:
        """The form it has in vLLM's files of tuned configurations."""
        return dict(zip(_VLLM_KEYS, self, strict=True))

    @property
    def shared_bytes(self) -> int:
        """Shared memory of one block of threads."""
        return self.stages * (self.block_m + self.block_n) * self.block_k

    def __str__(self) -> str:
        return f"{self.block_m}x{self.block_n}x{self.block_k} g{self.group_m} w{self.warps} s{self.stages}"


_VLLM_KEYS = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")


def allowed(config: Config, shape: Shape, batch: int) -> bool:
    """Whether the rules above leave this configuration for this batch."""
    tile = config.block_m * config.block_n
    tokens = shape.tokens_an_expert(batch)
    many_tiles = batch * shape.top_k >= 16 * shape.experts
    low, high = max(16, min(64, _power_of_2(tokens) // 4)), max(32, 4 * _power_of_2(tokens))
    if batch <= 8:  # a tile for every token: vLLM does not sort so few
        high = 16
    return (
        config.shared_bytes <= SHARED_BYTES
        and tile <= ACCUMULATORS_A_THREAD * 32 * config.warps
        and low <= config.block_m <= high
        and config.block_k <= shape.width
        and (config.warps == 4 or tile >= 1024)
        and (config.group_m == 1 or many_tiles)
    )


def coarse(shape: Shape, batch: int) -> list[Config]:
    """The first look: a thin grid over all parameters, the likely ones first."""
    grid = (
        Config(m, n, k, 1, warps, stages)
        for stages in (4, 3)
        for k in (128, 256)
        for m in VALUES["block_m"]
        for n in (64, 128, 32, 256)
        for warps in (4, 8)
        # Small tiles are starved by wide blocks, large ones by narrow ones.
        if m * n >= 32 * 16 and (m < 64 or n > 32)
    )
    return [config for config in grid if allowed(config, shape, batch)]


def neighbours(config: Config, shape: Shape, batch: int) -> Iterator[Config]:
    """All allowed configurations that are one step away in one parameter; groups are tried at any size.

    A parameter that has a value of vLLM's choice, and none of ours, stays as it is.
    """
    for key, values in VALUES.items():
        if getattr(config, key) not in values:
            continue
        place = values.index(getattr(config, key))
        for other, value in enumerate(values):
            if abs(other - place) == 1 or (key == "group_m" and other != place):
                near = config._replace(**{key: value})
                if allowed(near, shape, batch):
                    yield near


def _power_of_2(value: float) -> int:
    """The smallest power of two that is not below it."""
    power = 1
    while power < value:
        power *= 2
    return power
