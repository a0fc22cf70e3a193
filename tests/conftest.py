"""What do tests of several parts share?"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The folder with the pocket model's `target/` and `eagle/`, built now if they are not there."""
    subprocess.run([sys.executable, "-m", "deploy.pocket.build", "--if-missing"], check=True, cwd=ROOT)
    return ROOT / "deploy" / "pocket"
