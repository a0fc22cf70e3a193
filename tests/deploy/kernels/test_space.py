"""The configurations that are tried fit the GPU and the batch."""

import pytest

from deploy.kernels.shapes import BATCHES, SHAPES, Shape
from deploy.kernels.space import SHARED_BYTES, VALUES, Config, allowed, coarse, neighbours

EVERY = [(shape, batch) for shape in SHAPES.values() for batch in BATCHES]


def test_form() -> None:
    """A configuration survives the form of vLLM's files."""
    config = Config(16, 64, 128, 1, 4, 3)
    assert Config.from_vllm(config.to_vllm() | {"SPLIT_K": 1}) == config
    assert str(config) == "16x64x128 g1 w4 s3"


@pytest.mark.parametrize(("shape", "batch"), EVERY, ids=lambda value: str(getattr(value, "name", value)))
def test_coarse(shape: Shape, batch: int) -> None:
    """The grid is wide enough to learn from, and it and all around it fit the GPU."""
    grid = coarse(shape, batch)
    assert len(grid) == len(set(grid))
    assert 20 <= len(grid) <= 100
    for config in grid:
        assert config.shared_bytes <= SHARED_BYTES
        assert all(value in VALUES[key] for key, value in config._asdict().items())
        for near in neighbours(config, shape, batch):
            assert allowed(near, shape, batch)
            assert sum(a != b for a, b in zip(near, config, strict=True)) == 1


@pytest.mark.parametrize(
    ("change", "batch"),
    [
        ({"stages": 6, "block_k": 512}, 64),  # 240 KiB of shared memory
        ({"block_m": 128, "block_n": 256, "warps": 4}, 4096),  # 256 accumulators a thread
        ({"block_m": 128}, 64),  # two tokens an expert
        ({"block_m": 16}, 4096),  # 128 tokens an expert
        ({"block_m": 32}, 8),  # one token a tile
        ({"block_n": 32, "warps": 8}, 64),  # two columns a warp
        ({"group_m": 4}, 64),  # no second tile to share weights with
    ],
)
def test_rules(change: dict[str, int], batch: int) -> None:
    """One change makes a sound configuration one that a rule drops."""
    base = Config(64 if batch == 4096 else 16, 64, 128, 1, 4, 3)
    assert allowed(base, SHAPES["tp1"], batch)
    assert not allowed(base._replace(**change), SHAPES["tp1"], batch)


def test_foreign_value() -> None:
    """A value that only vLLM's files have is left alone."""
    near = list(neighbours(Config(64, 128, 128, 32, 8, 3), SHAPES["tp1"], 1024))
    assert near
    assert {config.group_m for config in near} == {32}


def test_shapes() -> None:
    """Experts are divided by ep and sliced by tp."""
    sizes = {name: (shape.local_experts, shape.width) for name, shape in SHAPES.items()}
    assert sizes == {
        "tp1": (128, 2048),
        "tp2": (128, 1024),
        "tp4": (128, 512),
        "ep2": (64, 2048),
        "ep4": (32, 2048),
    }
    assert SHAPES["tp1"].expert_bytes == 25_165_824
    assert SHAPES["tp1"].tokens_an_expert(4096) == pytest.approx(128)
