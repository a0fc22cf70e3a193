"""The cost model beside the steps that were timed by what they verify: none of them was fitted on."""

import json
from pathlib import Path

import pytest

from parallel.__main__ import main
from parallel.bench.verified import Step, steps, table

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "bench" / "results"
WHOLE, IN_PIECES, ONE_DRAFT = (FOLDER / f"verify-{name}2026-11-29.json" for name in ("", "five-", "one-"))
PAGE = (ROOT / "parallel" / "README.md").read_text()


def measured(path: Path) -> list[Step]:
    """A run's steps."""
    return list(steps(json.loads(path.read_text())))


def test_whole_graphs_are_met() -> None:
    """All 48, from 1 to 128 requests, within 13 %, and but for four within 9 %."""
    found = measured(WHOLE)
    assert len(found) == 48
    assert all(one.error == pytest.approx(0, abs=0.13) for one in found), found
    off = [(one.requests, one.draft_tokens) for one in found if abs(one.error) > 0.09]
    assert off == [(1, 0), (2, 0), (4, 0), (16, 0)]


def test_whole_graphs_of_earlier_runs_are_met() -> None:
    """Those of as many drafts as were proposed, up to 256 requests, within 9 %."""
    found = [one for path in (IN_PIECES, ONE_DRAFT) for one in measured(path) if one.whole]
    assert len(found) == 17
    assert all(one.error == pytest.approx(0, abs=0.09) for one in found), found


def test_pieces_take_longer() -> None:
    """At 1 and 2 requests fewer than five drafts took twice as long, until they had graphs."""
    whole, pieces = (
        {(one.requests, one.draft_tokens): one.measured_ms for one in measured(path)}
        for path in (WHOLE, IN_PIECES)
    )
    assert all(pieces[n, k] > 1.8 * whole[n, k] for n in (1, 2) for k in range(1, 5))


def test_the_page_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As the command prints it."""
    assert main(["compare", str(WHOLE)]) == 0
    shown = table(json.loads(WHOLE.read_text()))
    assert capsys.readouterr().out.strip() == shown
    assert shown in PAGE
