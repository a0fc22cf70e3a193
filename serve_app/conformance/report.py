"""How are rows told: as a table, as values, as an exit status?"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from serve_app.conformance.matrix import Outcome, Row

HEAD = ("dialect", "effort", "how", "case", "outcome", "s", "reason")


def table(rows: Sequence[Row]) -> str:
    """One line a cell, and the counts below."""
    lines = [HEAD, *(_fields(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEAD))]
    aligned = (
        "  ".join(
            text.rjust(width) if name == "s" else text.ljust(width)
            for name, text, width in zip(HEAD, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
    return "\n".join([*aligned, "", ", ".join(f"{num} {what}" for what, num in counts(rows).items())])


def line(row: Row) -> str:
    """One row by itself, for a log."""
    reason = f": {row.reason}" if row.reason else ""
    return f"{row.cell.name}: {row.outcome.value}, {row.seconds:.1f} s{reason}"


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows came out in which way, also if none did."""
    found = Counter(row.outcome for row in rows)
    return {outcome.value: found[outcome] for outcome in Outcome}


def figures(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain values."""
    return [
        {
            "dialect": row.cell.dialect.name,
            "effort": row.cell.effort,
            "how": row.cell.how,
            "case": row.cell.case.name,
            "outcome": row.outcome.value,
            "reason": row.reason,
            "seconds": round(row.seconds, 3),
        }
        for row in rows
    ]


def status(rows: Sequence[Row]) -> int:
    """0 if what was asked came out well; 1 if something did not, or if nothing was asked at all."""
    bad = {Outcome.WRONG, Outcome.FAILED}
    has_passed = any(row.outcome is Outcome.OK for row in rows)
    return 0 if has_passed and not any(row.outcome in bad for row in rows) else 1


def _fields(row: Row) -> tuple[str, ...]:
    told = " ".join(row.reason.split())
    cell = row.cell
    return (
        cell.dialect.name,
        cell.effort,
        cell.how,
        cell.case.name,
        row.outcome.value,
        f"{row.seconds:.1f}",
        told,
    )
