"""Every serve file that is shipped can be deployed as it is."""

from pathlib import Path

import pytest

from serve_app.config import PROJECT_ROOT
from serve_app.report import report
from serve_app.serve_file import load

FILES = sorted((PROJECT_ROOT / "deploy").glob("*.yaml"))

# Ray Serve's own models use what pydantic has deprecated.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on:pydantic.warnings.PydanticDeprecatedSince20"
)


def test_there_are_files() -> None:
    """The two that start without a GPU are among them."""
    assert {"local.yaml", "local-ep.yaml"} <= {file.name for file in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_serve_file(path: Path, checkpoint: Path) -> None:
    """A shipped file is valid, its plan runs the model, and its report shows each of its pools."""
    file = load(path)
    text = report(file)
    assert text.startswith(f"{path}: valid\n")
    for name in file.settings.pools:
        assert f"\npool {name}: " in text
