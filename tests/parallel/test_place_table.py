"""What `place` makes of a recorded load."""

import numpy as np
import pytest

from parallel.load import ExpertLoad, in_order
from parallel.place_table import json_values, placed, shades, text
from parallel.placement.maps import Placement
from parallel.recording import Window

COUNTS = np.array([[6, 6, 2, 2], [4, 4, 4, 4]])


def window(name: str = "w", ranks: int = 2) -> Window:
    """A window of a load that is uneven in its first layer."""
    return Window(name, ExpertLoad(COUNTS, in_order(COUNTS, ranks)))


def test_the_placement_is_even_and_near() -> None:
    """The busy experts of the first layer come apart; the second layer is left alone."""
    found = placed([window()])
    assert found.load.balancedness.tolist() == [pytest.approx(8 / 12), 1.0]
    assert found.balancedness.tolist() == found.best.tolist() == [1.0, 1.0]
    assert found.moved is not None
    assert found.moved.tolist() == [2, 0]


def test_windows_add_up() -> None:
    """All windows count, and the last one says where the experts are."""
    other = Window("x", ExpertLoad(COUNTS[:, ::-1].copy(), Placement(np.array([[0, 2, 1, 3]] * 2), 4, 2)))
    found = placed([window(), other])
    assert found.load.counts.tolist() == (COUNTS + COUNTS[:, ::-1]).tolist()
    assert found.load.placement is other.load.placement


def test_other_slots_cannot_be_compared() -> None:
    """With redundant experts that are not there yet nothing can be said of moves."""
    found = placed([window()], redundant=2)
    assert found.moved is None
    assert found.placement.physical_to_logical.shape == (2, 6)
    assert (found.balancedness <= found.best + 1e-9).all()
    assert "| - |" in text([window()], found)


def test_text_has_windows_layers_and_a_map() -> None:
    """Each window and each layer has its line, twice: in figures and in shades."""
    lines = text([window("one"), window("two")], placed([window("one"), window("two")])).splitlines()
    assert lines[0] == "2 layers of 4 experts on 2 ranks"
    assert "| one | 32 | 37.5% | 0.833 | 0.667 |" in lines
    assert "| 0 | 0 (37.5%) | 0.667 | 1.000 | 1.000 | 2 |" in lines
    assert lines[-1].startswith("  1 ")


def test_values_hold_the_new_slots() -> None:
    """What a script needs to go on with."""
    found = json_values([window()], placed([window()]))
    assert sorted(found["placed"]["slots"][0]) == [0, 1, 2, 3]
    assert (found["placed"]["ranks"], found["placed"]["experts_moved"]) == (2, [2, 0])
    assert found["windows"][0]["name"] == "w"


def test_shades() -> None:
    """Nothing is blank, and four times the mean is the darkest."""
    assert shades(np.array([0, 0, 0, 0])) == "    "
    assert shades(np.array([0, 0, 0, 8])) == "   @"
    assert len(set(shades(np.array([1, 2, 4, 9])))) == 4
