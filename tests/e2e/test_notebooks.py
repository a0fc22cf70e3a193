"""Do the notebooks that talk to a system run against a real one? (tests/notebooks has the others)"""

from pathlib import Path

import pytest

from serve_app.local import LocalSystem
from tests.notebooks.running import OF_A_SYSTEM, run


@pytest.mark.engine
@pytest.mark.e2e
@pytest.mark.parametrize("path", OF_A_SYSTEM, ids=lambda path: path.name)
def test_notebook_runs(path: Path, system: LocalSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs; the notebooks assert what they claim."""
    monkeypatch.setenv("VENTURI_URL", system.file.url)
    run(path)
