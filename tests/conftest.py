"""What do tests of several parts share?"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The folder with the pocket model's `target/` and `eagle/`, built now if they are not there."""
    script = ROOT / "deploy" / "pocket" / "build.py"
    subprocess.run([sys.executable, script, "--if-missing"], check=True)
    return script.parent
