"""How much memory has a GPU, and how fast does it read it?

`memory_bytes` is the total that CUDA reports, since that is what vLLM takes its share of; it lies below
the number in the product's name. Sources: H200 from the engine's own log; the others from the "total
capacity" in public PyTorch out-of-memory reports, which differ by some 0.2 GiB from machine to machine;
for the B300, of which no such report was at hand, the data sheet's 288 GB. Bandwidths are the peaks in
NVIDIA's data sheets.
"""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """One device, as far as fitting a model depends on it; ValueError for a size that is not positive."""

    name: str
    memory_bytes: int
    memory_bandwidth_bytes_per_s: float
    """The peak: a kernel in use stays below it."""

    def __post_init__(self) -> None:
        for field in ("memory_bytes", "memory_bandwidth_bytes_per_s"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{self.name}: {field}={getattr(self, field)} must be more than 0")


A100_40 = Gpu("A100-40", int(39.4 * GIB), 1.555e12)
A100_80 = Gpu("A100-80", int(79.15 * GIB), 2.039e12)
L40S = Gpu("L40S", int(44.4 * GIB), 0.864e12)
H100 = Gpu("H100", int(79.2 * GIB), 3.35e12)
H200 = Gpu("H200", int(139.8 * GIB), 4.8e12)
B200 = Gpu("B200", int(178.35 * GIB), 7.7e12)
B300 = Gpu("B300", 288 * 10**9, 8.0e12)

GPUS = {gpu.name: gpu for gpu in (A100_40, A100_80, L40S, H100, H200, B200, B300)}
"""Every device known here, by its name."""


def gpu(name: str) -> Gpu:
    """The device of this name; ValueError with the names that there are."""
    try:
        return GPUS[name]
    except KeyError:
        raise ValueError(f"no GPU named {name!r}; known: {', '.join(GPUS)}") from None
