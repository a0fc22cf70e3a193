"""The table of devices: names, plausible sizes, and what an unknown name says."""

from dataclasses import replace
from typing import Any

import pytest

from parallel.hardware import A100_80, B200, GIB, GPUS, H100, Gpu, Link, gpu


@pytest.mark.parametrize("device", GPUS.values(), ids=lambda device: device.name)
def test_reported_memory_is_below_the_product_name(device: Gpu) -> None:
    """CUDA reports less than the name promises, but no less than nine tenths of it in GiB."""
    named_gib = {
        "A100-40": 40,
        "A100-80": 80,
        "L40S": 48,
        "H100": 80,
        "H200": 141,
        "B200": 192,
        "B300": 288,
    }
    assert 0.9 * named_gib[device.name] < device.memory_bytes / GIB < named_gib[device.name]


def test_gpu_by_name() -> None:
    """A device is found under the name it carries."""
    assert gpu("H200").name == "H200"


def test_unknown_name_lists_the_known() -> None:
    """A slip in a name is answered with the names there are."""
    with pytest.raises(ValueError, match=r"no GPU named 'H20'; known: A100-40, .*B300"):
        gpu("H20")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_bytes": 0}, "H100: memory_bytes=0 must be more than 0"),
        ({"memory_bandwidth_bytes_per_s": 0.0}, "memory_bandwidth_bytes_per_s=0.0 must be"),
        ({"fp8_flops_per_s": -1.0}, "fp8_flops_per_s=-1.0 must be"),
        ({"link": Link("toy", 0.0, 0.0)}, "link.bytes_per_s=0.0 must be"),
    ],
)
def test_sizes_are_positive(changes: dict[str, Any], message: str) -> None:
    """A device without memory, bandwidth, a rate or a link is refused."""
    with pytest.raises(ValueError, match=message):
        replace(H100, **changes)


def test_narrow_numbers_are_multiplied_natively_or_widened() -> None:
    """FP4 is Blackwell's, FP8 also Hopper's and Ada's; what a device lacks it computes in BF16."""
    assert {gpu.name for gpu in GPUS.values() if gpu.multiplies(4)} == {"B200", "B300"}
    assert {gpu.name for gpu in GPUS.values() if not gpu.multiplies(8)} == {"A100-40", "A100-80"}
    assert H100.flops_per_s(4) == H100.flops_per_s(16) < H100.flops_per_s(8)
    assert A100_80.flops_per_s(8) == A100_80.flops_per_s(16) == 2 * A100_80.flops_per_s(32)
    assert B200.flops_per_s(4) > B200.flops_per_s(8) > B200.flops_per_s(16)


@pytest.mark.parametrize("device", GPUS.values(), ids=lambda device: device.name)
def test_a_node_is_closer_than_the_network(device: Gpu) -> None:
    """Neighbours in a node are reached faster and sooner than another node."""
    assert device.link.bytes_per_s > device.network.bytes_per_s
    assert device.link.latency_s < device.network.latency_s
