"""The tables of README.md beside this file, of the project's and of parallel's are what the results say."""

from pathlib import Path

import pytest

from serve_app.config import PROJECT_ROOT
from tests.bench import report

FOLDERS = (Path(__file__).parent, PROJECT_ROOT, PROJECT_ROOT / "parallel")
PAGES = "\n".join((folder / "README.md").read_text() for folder in FOLDERS)
TABLES = report.tables()


@pytest.mark.parametrize("name", TABLES)
def test_a_page_shows_it(name: str) -> None:
    """Word for word; the message has the table to paste."""
    assert TABLES[name] in PAGES, f"no README.md has, of {name},\n{TABLES[name]}"


def test_what_was_not_measured_is_empty() -> None:
    """A number of requests that only some were asked with stands in a row of its own."""
    (row,) = (line for line in report.layouts().splitlines() if line.startswith("| 1 |"))
    assert row.endswith(" | | |")
