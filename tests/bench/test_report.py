"""The tables of README.md beside this file are what the results say."""

from pathlib import Path

import pytest

from tests.bench import report

PAGE = Path(__file__).parent / "README.md"


@pytest.mark.parametrize("name", report.tables())
def test_the_page_shows_it(name: str) -> None:
    """Word for word; the message has the table to paste."""
    table = report.tables()[name]
    assert table in PAGE.read_text(), f"tests/bench/README.md lacks, of {name},\n{table}"


def test_what_was_not_measured_is_empty() -> None:
    """A number of requests that only some were asked with stands in a row of its own."""
    (row,) = (line for line in report.layouts().splitlines() if line.startswith("| 1 |"))
    assert row.endswith(" | | |")
