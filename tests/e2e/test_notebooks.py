"""Do the notebooks run against a real system, and are they committed without outputs?"""

from pathlib import Path

import nbclient
import nbformat
import pytest

from serve_app.config import PROJECT_ROOT
from serve_app.local import LocalSystem

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_outputs_are_stripped(path: Path) -> None:
    """A committed notebook has no outputs: they would go stale, and diffs could not be read."""
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.engine
@pytest.mark.e2e
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(path: Path, system: LocalSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs; the notebooks assert what they claim."""
    monkeypatch.setenv("VENTURI_URL", system.file.url)
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
