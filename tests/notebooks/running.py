"""Which notebooks are there, which of them talk to a system, and how is one run?"""

from pathlib import Path

import nbclient
import nbformat

from serve_app.config import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "notebooks"
ALL = sorted(FOLDER.glob("*.ipynb"))
OF_A_SYSTEM = [path for path in ALL if "VENTURI_URL" in path.read_text()]
ALONE = [path for path in ALL if path not in OF_A_SYSTEM]


def run(path: Path) -> None:
    """Run every cell, in the notebook's folder as Jupyter does; a cell that raises does so here."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    # Seconds for a cell, and for the kernel to start: a busy machine takes a minute for what is done in two.
    client = nbclient.NotebookClient(
        notebook, timeout=240, startup_timeout=240, kernel_name="python3", resources=where
    )
    client.execute()
