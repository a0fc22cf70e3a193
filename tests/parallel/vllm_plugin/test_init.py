"""Do vLLM's entry points install the fixes?"""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from parallel import vllm_plugin

Probe = Callable[[bool], Any]


def test_every_fix_takes_effect_through_the_entry_points(probe: Probe) -> None:
    """A process in which vLLM loads its plugins has all fixes, and loading them again does no harm."""
    assert set(probe(True)["in_effect"].values()) == {True}


def test_none_takes_effect_without_them(probe: Probe) -> None:
    """With the plugin left out each check says so, but for the vision import where torchvision is there."""
    in_effect = probe(False)["in_effect"]
    del in_effect["vision_import"]
    assert set(in_effect.values()) == {False}


def test_the_package_loads_without_vllm() -> None:
    """VLLM imports the package before it has chosen its platform, so the import must not need vLLM."""
    code = "import parallel.vllm_plugin, sys; sys.exit('vllm' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_registering_twice_changes_nothing() -> None:
    """VLLM may call a plugin several times in one process."""
    from vllm.parser.engine import streaming_parser_engine

    vllm_plugin.register()
    build = streaming_parser_engine._build_drop_info
    vllm_plugin.register()
    assert streaming_parser_engine._build_drop_info is build
