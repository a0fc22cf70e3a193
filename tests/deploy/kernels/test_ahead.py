"""Kernels that are compiled ahead are the ones that will be launched."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.kernels import ahead
from deploy.kernels.ahead import LATE, Compiler, kernel_key
from deploy.kernels.shapes import BATCHES, SHAPES
from deploy.kernels.space import Config

CONFIG = Config(16, 64, 128, 1, 4, 3)
WIDE = Config(64, 128, 128, 1, 8, 3)
CASES = [
    ("tp1", 1, CONFIG),
    ("tp1", 2, CONFIG),
    ("tp2", 8, CONFIG),
    ("tp1", 16, CONFIG),
    ("ep2", 16, CONFIG),
    ("ep2", 1, CONFIG),
    ("tp4", 512, WIDE),
    ("tp1", 4096, WIDE),
]


def test_kernels(tmp_path: Path) -> None:
    """Equal keys are equal kernels, other keys others; shared memory is what the rule says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.kernels.hopper"],
        input=json.dumps(CASES),
        capture_output=True,
        text=True,
        env={"TRITON_CACHE_DIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    compiled = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]
    assert len(compiled) == len(CASES)
    for (_, _, config), kernels in zip(CASES, compiled, strict=True):
        assert [shared for shared, _ in kernels] == [config.shared_bytes] * 2
    keys = [kernel_key(SHAPES[shape], batch, config) for shape, batch, config in CASES]
    hashes = [tuple(digest for _, digest in kernels) for kernels in compiled]
    for key, digest in zip(keys, hashes, strict=True):
        assert [other == digest for other in hashes] == [other == key for other in keys]


def test_num_kernels() -> None:
    """Four kernels of a configuration serve all batches of all shapes."""
    keys = {kernel_key(shape, batch, CONFIG) for shape in SHAPES.values() for batch in BATCHES}
    assert len(keys) == 4


def _fail(*task: object) -> str:
    return "no compiler"


def test_no_workers() -> None:
    """Without workers everything may be timed: the timing process compiles."""
    compiler = Compiler(workers=0)
    compiler.submit([(SHAPES["tp1"], 1, CONFIG)])
    compiler.wait(time.monotonic() + 1)
    assert compiler.error(SHAPES["tp1"], 1, CONFIG) is None


def test_broken_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that can compile nothing at all are given up."""
    monkeypatch.setattr(ahead, "compile_one", _fail)
    compiler = Compiler(workers=1)
    try:
        compiler.submit([(SHAPES["tp1"], 1, CONFIG)])
        assert compiler.error(SHAPES["tp1"], 1, CONFIG) == LATE
        compiler.wait(time.monotonic() + 60)
        assert compiler.broken == "no compiler"
        assert compiler.error(SHAPES["tp1"], 1, CONFIG) is None
    finally:
        compiler.close()
