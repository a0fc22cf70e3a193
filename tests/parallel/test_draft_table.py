"""Does the table say which number of draft tokens is best at which batch, and refuse what cannot be?"""

import pytest

from parallel.cost import Engine
from parallel.draft_table import draft_table, text
from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan

ENGINE = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())


def test_there_is_a_valley_and_a_ridge() -> None:
    """The gain is least at a batch of about 8, where each token brings experts, and most at about 128."""
    gained = [max(row) for row in draft_table(ENGINE, [0.8, 0.6, 0.5])]
    assert gained.index(min(gained)) == 3
    assert gained.index(max(gained)) in (6, 7)


def test_poor_drafts_are_not_worth_it_in_the_valley() -> None:
    """There k = 0 is best, and on either side of it some drafts pay."""
    best = [row.index(max(row)) for row in draft_table(ENGINE, [0.3, 0.1, 0.05])]
    assert best[3] == 0
    assert min(best[0], best[7]) > 0


def test_text_has_a_line_a_batch() -> None:
    """With the acceptance it is for."""
    survival = [0.8, 0.6]
    lines = text(ENGINE, survival, draft_table(ENGINE, survival, max_sequences=4)).splitlines()
    assert lines[0].startswith("H200")
    assert lines[0].endswith("0.8,0.6")
    assert [line.split()[0] for line in lines[3:6]] == ["1", "2", "4"]
    assert [line.split()[-1] for line in lines[3:6]] == ["2", "2", "2"]


@pytest.mark.parametrize(
    ("survival", "message"),
    [
        ([0.3, 0.4], "acceptance=0.3,0.4 must not rise"),
        ([], "acceptance= must not"),
        ([1.2], "acceptance=1.2 must be from 0 to 1"),
        ([0.5, -0.1], "acceptance=0.5,-0.1 must be from 0 to 1"),
    ],
)
def test_acceptance_that_cannot_be(survival: list[float], message: str) -> None:
    """The error has the values."""
    with pytest.raises(ValueError, match=message):
        draft_table(ENGINE, survival)
