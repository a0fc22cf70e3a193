"""Are shares, intervals, differences of counters and goals worked out as they are defined?"""

import pytest

from deploy.pocket.families.example import Effort
from deploy.pocket.score import (
    Answer,
    Drafting,
    Goal,
    Share,
    drafting_table,
    errors,
    family_figures,
    family_table,
    goal_table,
    goals,
)


def answers(family: str, effort: Effort, num_right: int, num_wrong: int) -> list[Answer]:
    """So many right and wrong answers, all of ten tokens and ended by the model."""
    return [
        Answer(family, effort, is_right=place < num_right, has_ended=True, num_tokens=10)
        for place in range(num_right + num_wrong)
    ]


@pytest.mark.parametrize(
    ("num", "total", "low", "high"),
    [
        # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 17 (1998),
        # table I, method 3.
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (0, 20, 0.0, 16.11),
        (1, 29, 0.61, 17.18),
        # And the mirror of one of them.
        (20, 20, 83.89, 100.0),
    ],
)
def test_intervals_are_the_published_ones(num: int, total: int, low: float, high: float) -> None:
    """The score interval agrees with a published table."""
    assert Share(num, total).interval == pytest.approx((low, high), abs=0.005)


def test_a_share_of_nothing_is_none() -> None:
    """Facts are counted; without any there is no share."""
    assert Share.of([True, False, True]) == Share(2, 3)
    assert Share.of([]) is None


def test_drafting_is_a_difference() -> None:
    """Counters that rise give the length and the rates of what happened in between."""
    earlier = Drafting(100, 120, (70, 40, 10))
    later = Drafting(300, 480, (230, 160, 90))
    between = later.since(earlier)
    assert between == Drafting(200, 360, (160, 120, 80))
    assert between.length == pytest.approx(2.8)
    assert between.rates == pytest.approx((80, 60, 40))
    assert later.since(Drafting()) == later


def test_an_engine_that_drafts_nothing_has_no_length() -> None:
    """No drafts, no length: 1 would be a claim."""
    assert Drafting().length is None
    assert Drafting(0, 0, (0, 0, 0)).rates == ()


@pytest.mark.parametrize("later", [Drafting(5, 6, (3, 2, 1)), Drafting()])
def test_counters_that_fall_are_refused(later: Drafting) -> None:
    """An engine that was replaced meanwhile counts from 0 again, or not at all."""
    with pytest.raises(ValueError, match="began anew"):
        later.since(Drafting(100, 120, (70, 40, 10)))


def test_goals_are_the_demanded_ones() -> None:
    """Each goal takes its own families and efforts, and is met by the figure itself."""
    greedy = [
        *answers("arithmetic.one_step", "none", 19, 1),
        *answers("arithmetic.one_step", "high", 0, 5),
        *answers("arithmetic.three_step", "high", 18, 2),
        *answers("arithmetic.three_step", "none", 14, 6),
        *answers("tools.seen", "high", 3, 1),
        *answers("tools.unseen", "none", 9, 1),
        *answers("schemas", "none", 20, 0),
        *answers("pictures.pair", "none", 9, 0),
        *answers("pictures.number", "high", 0, 1),
        Answer("world", "none", is_right=False, has_ended=False, error="500: no"),
    ]
    rows = {row.what: row for row in goals(greedy, {0.0: 2.4, 0.7: 1.8})}
    assert {what: (row.value, row.is_met) for what, row in rows.items()} == {
        "single-step tasks at none": (95.0, True),
        "three-step arithmetic at high": (90.0, True),
        "the same at none": (70.0, None),
        "high above none": (pytest.approx(20.0), False),
        "tool calls, seen schemas": (75.0, False),
        "tool calls, unseen schemas": (90.0, True),
        "JSON valid and right": (100.0, True),
        "images": (90.0, True),
        "ends with end of text": (pytest.approx(100 * 109 / 110), True),
        "acceptance length at high, temperature 0": (2.4, True),
        "acceptance length at high, temperature 0.7": (1.8, False),
    }
    assert rows["images"].share == Share(9, 10)


def test_what_was_not_asked_is_neither_met_nor_missed() -> None:
    """Without answers every goal is there and has no figure."""
    rows = goals([], {})
    assert len(rows) == 11
    assert {row.value for row in rows} == {row.is_met for row in rows} == {None}
    assert "not measured" in goal_table(rows)
    assert rows[0].figures()["interval"] is None


def test_a_table_of_goals_has_all_figures() -> None:
    """Measured, how many, interval, goal and verdict stand in one row."""
    table = goal_table([Goal.on_share("images", Share(9, 10), 90), Goal("length", 1.25, 2.2, "")])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[2] == ["images", "90.0 %", "10", "59.6 to 98.2", ">= 90 %", "yes"]
    assert rows[3] == ["length", "1.25", "", "", ">= 2.2", "no"]
    assert len({len(line) for line in table.splitlines()}) == 1


def test_families_are_told_apart_by_effort() -> None:
    """Each family has a row an effort, in alphabetical order, with what did not end and what failed."""
    found = [
        *answers("world", "none", 3, 1),
        *answers("code", "high", 1, 0),
        *answers("code", "none", 0, 1),
        Answer("world", "none", is_right=False, has_ended=False, error="503: busy"),
    ]
    figures = family_figures(found)
    assert [(row["family"], row["effort"], row["num"], row["total"]) for row in figures] == [
        ("code", "high", 1, 1),
        ("code", "none", 0, 1),
        ("world", "none", 3, 5),
    ]
    assert figures[-1]["num_ended"] == 4
    assert figures[-1]["num_errors"] == 1
    assert figures[-1]["mean_tokens"] == 8.0
    assert [line.split("|")[1].strip() for line in family_table(found).splitlines()[2:]] == [
        "code",
        "code",
        "world",
    ]


def test_a_table_of_drafts_has_every_position() -> None:
    """Answers, the length and the rate at each position stand in one row, by temperature."""
    at_high = {0.0: answers("world", "high", 3, 1), 0.7: []}
    table = drafting_table(at_high, {0.0: Drafting(200, 360, (160, 120, 80))})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[2] == ["0", "4", "75.0 %", "100.0 %", "200", "2.80", "80 %, 60 %, 40 %"]
    assert rows[3] == ["0.7", "0", "not measured", "not measured", "0", "not measured", ""]


def test_errors_are_counted_by_kind() -> None:
    """The most frequent error comes first; answers are none."""
    failed = [
        Answer("world", "none", is_right=False, has_ended=False, error=error) for error in ("b", "a", "b")
    ]
    assert errors([*failed, *answers("world", "none", 1, 1)]) == ["2 x b", "1 x a"]
