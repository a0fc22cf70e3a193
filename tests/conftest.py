"""What do tests of several parts share?"""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The folder with the pocket model's `target/` and `eagle/`."""
    return ROOT / "deploy" / "pocket"
