"""Can vLLM's vision tower be imported without torchvision, and does the stand-in count alike?"""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from parallel.vllm_plugin import vision_import

Probe = Callable[[bool], Any]


@pytest.mark.skipif(vision_import.has_torchvision(), reason="nothing is missing here")
def test_the_import_fails_without_the_fix(probe: Probe) -> None:
    """Upstream asks for torchvision."""
    assert probe(False)["vision_error"] == "ModuleNotFoundError: No module named 'torchvision'"


def test_the_import_works_with_the_fix(probe: Probe) -> None:
    """With the plugin, with or without torchvision, the import succeeds."""
    assert probe(True)["vision_error"] is None


@pytest.mark.parametrize(
    ("image_size", "patch_size", "wanted"),
    [
        ((224, 224), (14, 14), (16, 16)),
        ((84, 112), 28, (3, 4)),
        ((85, 111), 28, (4, 4)),
        ((1, 1), (14, 14), (1, 1)),
        ((100, 50), (10, 25), (10, 2)),
    ],
)
def test_patches_are_counted_as_upstream_counts_them(
    image_size: tuple[int, int], patch_size: int | tuple[int, int], wanted: tuple[int, int]
) -> None:
    """(height, width) in pixels -> (rows, columns); a partial patch is a patch."""
    assert vision_import.num_patches(image_size, patch_size) == wanted


def test_nothing_is_replaced_where_torchvision_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers' own module keeps its place then."""
    monkeypatch.setattr(vision_import, "has_torchvision", lambda: True)
    monkeypatch.delitem(sys.modules, vision_import.MODULE, raising=False)
    vision_import.install()
    assert vision_import.MODULE not in sys.modules


def test_the_stand_in_has_the_name_vllm_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """One function, under its upstream name."""
    monkeypatch.setattr(vision_import, "has_torchvision", lambda: False)
    monkeypatch.delitem(sys.modules, vision_import.MODULE, raising=False)
    assert not vision_import.in_effect()
    vision_import.install()
    assert vision_import.in_effect()
    assert vars(sys.modules[vision_import.MODULE])["_num_image_tokens"] is vision_import.num_patches
