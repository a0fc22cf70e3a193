"""The table of devices: names, plausible sizes, and what an unknown name says."""

import pytest

from parallel.hardware import GIB, GPUS, Gpu, gpu


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


@pytest.mark.parametrize("fields", [(0, 1.0), (1, 0.0), (-1, 1.0)])
def test_sizes_are_positive(fields: tuple[int, float]) -> None:
    """A device without memory or bandwidth is refused."""
    with pytest.raises(ValueError, match=r"toy: memory_.* must be more than 0"):
        Gpu("toy", *fields)
