"""Rows as a table, as values, as a status."""

import pytest

from serve_app.conformance import report
from serve_app.conformance.matrix import Outcome, Row, cells

CELL, RAW = cells("chat high stream tool")[0], cells("completions whole raw")[0]
ROWS = [Row(CELL, Outcome.WRONG, "says\n 'x'", 12.34), Row(RAW, Outcome.OK, "", 0.06)]


def test_table() -> None:
    """Columns are aligned, a reason is one line, and every outcome is counted."""
    assert report.table(ROWS).splitlines() == [
        "dialect      effort  how     case  outcome     s  reason",
        "chat         high    stream  tool  WRONG    12.3  says 'x'",
        "completions  -       whole   raw   ok        0.1",
        "",
        "1 ok, 1 WRONG, 0 FAILED, 0 skipped",
    ]


def test_line() -> None:
    """One row by itself."""
    assert [report.line(row) for row in ROWS] == [
        "chat high stream tool: WRONG, 12.3 s: says\n 'x'",
        "completions - whole raw: ok, 0.1 s",
    ]


def test_figures() -> None:
    """The same as plain values."""
    assert report.figures(ROWS)[0] == {
        "dialect": "chat",
        "effort": "high",
        "how": "stream",
        "case": "tool",
        "outcome": "WRONG",
        "reason": "says\n 'x'",
        "seconds": 12.34,
    }


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([Outcome.OK], 0),
        ([Outcome.OK, Outcome.SKIPPED], 0),
        ([Outcome.OK, Outcome.WRONG], 1),
        ([Outcome.FAILED, Outcome.OK], 1),
        ([Outcome.SKIPPED], 1),
    ],
)
def test_status(outcomes: list[Outcome], status: int) -> None:
    """Good if something passed and nothing failed."""
    assert report.status([Row(CELL, outcome, "", 0.0) for outcome in outcomes]) == status
