"""Does vLLM take our platform on CPUs, and only there?"""

from collections.abc import Callable
from typing import Any

import pytest
import vllm.platforms
from vllm.platforms import current_platform

from parallel import vllm_plugin
from parallel.vllm_plugin.communicator_cpu import UnevenCpuCommunicator
from parallel.vllm_plugin.platform_cpu import ExpertParallelCpuPlatform


def test_vllm_activates_it(probe: Callable[[bool], Any]) -> None:
    """With the plugin the platform is ours, without it vLLM's."""
    assert probe(True)["platform"] == "ExpertParallelCpuPlatform"
    assert probe(False)["platform"] == "CpuPlatform"


@pytest.mark.parametrize(
    ("detected", "wanted"),
    [
        ("vllm.platforms.cpu.CpuPlatform", "parallel.vllm_plugin.platform_cpu.ExpertParallelCpuPlatform"),
        ("vllm.platforms.zen_cpu.ZenCpuPlatform", None),
        (None, None),
    ],
)
def test_it_stands_in_for_the_plain_cpu_platform_only(
    monkeypatch: pytest.MonkeyPatch, detected: str | None, wanted: str | None
) -> None:
    """On a GPU build, or with a vendor's own CPU platform, the plugin stays out."""
    monkeypatch.setattr(vllm.platforms, "cpu_platform_plugin", lambda: detected)
    assert vllm_plugin.platform() == wanted


def test_it_names_the_communicator_and_stays_a_cpu() -> None:
    """The communicator's class is found by its name, and everything that asks for a CPU gets a yes."""
    module, _, name = ExpertParallelCpuPlatform.get_device_communicator_cls().rpartition(".")
    assert (module, name) == (UnevenCpuCommunicator.__module__, UnevenCpuCommunicator.__name__)
    assert ExpertParallelCpuPlatform().is_cpu()
    assert current_platform.is_cpu()
