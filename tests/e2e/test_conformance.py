"""Does our own system keep to all four dialects, with right answers in each?"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.local import LocalSystem

pytestmark = [pytest.mark.engine, pytest.mark.e2e]


def test_every_cell_is_ok(system: LocalSystem, tmp_path: Path) -> None:
    """The whole matrix passes, nothing is skipped, and the exit status says so."""
    rows = tmp_path / "rows.json"
    command = [sys.executable, "-m", "serve_app.conformance", system.file.url, "--json", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout
    counts = json.loads(rows.read_text())["counts"]
    assert counts["ok"] > 100
    assert counts["skipped"] == 0
