"""The command says what it takes, and where the time went."""

from pathlib import Path

import pytest

from deploy.kernels import tune
from deploy.kernels.results import nearest, table
from deploy.kernels.space import Config


def test_unknown_shape(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An unknown shape is refused by name."""
    with pytest.raises(SystemExit):
        tune.main(["--shape", "tp3", "--gpu-out", str(tmp_path)])
    assert "tp3" in capsys.readouterr().err


def test_nearest() -> None:
    """The nearest batch decides, as in vLLM."""
    configs = {batch: Config(16, 64, 128, 1, 4, batch) for batch in (1, 8, 64)}
    assert [nearest(configs, batch).stages for batch in (1, 3, 40, 4096)] == [1, 1, 64, 64]


def test_table() -> None:
    """A row that failed has empty cells."""
    assert table([{"batch": 8, "error": "lost"}]).splitlines()[-1].startswith("| 8 | - | - |")
