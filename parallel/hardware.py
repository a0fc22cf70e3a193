"""How much memory has a GPU, how fast does it read it, multiply, and talk to its neighbours?

`memory_bytes` is the total that CUDA reports, since that is what vLLM takes its share of; it lies below
the number in the product's name. Sources: H200 from the engine's own log; the others from the "total
capacity" in public PyTorch out-of-memory reports, which differ by some 0.2 GiB from machine to machine;
for the B300, of which no such report was at hand, the data sheet's 288 GB.

Bandwidths and rates are the peaks in NVIDIA's data sheets: A100 (40 and 80 GB, SXM), L40S, H100 SXM,
H200 SXM, HGX B200 and HGX B300. Rates are dense, so half of what a sheet gives "with sparsity". Links
are one direction, so half of a sheet's sum of both. The network is one adapter a GPU, of the speed in
NVIDIA's reference server of that generation (200 Gb/s for A100, 400 for H100, H200 and B200, 800 for
B300); L40S servers differ, and 100 Gb/s a GPU is our cautious choice. Prices are not known here.
"""

from dataclasses import dataclass

GIB = 2**30
TERA = 1e12
GIGA = 1e9


NVLINK_LATENCY_S = 10e-6
"""Seconds a hop of a collective over NVLink, in a CUDA graph: fitted on two H200 (`measured.py`)."""

PCIE_LATENCY_S = 20e-6
"""The same over PCIe: an assumption; nothing of ours has been measured there."""

NETWORK_LATENCY_S = 30e-6
"""The same between nodes: an assumption, too."""


@dataclass(frozen=True)
class Link:
    """What the ranks of a group talk over."""

    name: str
    bytes_per_s: float
    """One direction, one GPU, the peak."""
    latency_s: float
    """Seconds a hop of a collective takes, however few its bytes."""


@dataclass(frozen=True)
class Gpu:
    """One device, as far as fitting and timing a model depend on it; ValueError for a size not above 0."""

    name: str
    memory_bytes: int
    memory_bandwidth_bytes_per_s: float
    """The peak: a kernel in use stays below it."""
    bf16_flops_per_s: float
    fp8_flops_per_s: float | None
    """None where the tensor cores do not multiply FP8."""
    fp4_flops_per_s: float | None
    """None where the tensor cores do not multiply FP4."""
    link: Link
    """To the other GPUs of the node."""
    network: Link
    """To the GPUs of other nodes."""

    def __post_init__(self) -> None:
        values = {
            "memory_bytes": self.memory_bytes,
            "memory_bandwidth_bytes_per_s": self.memory_bandwidth_bytes_per_s,
            "bf16_flops_per_s": self.bf16_flops_per_s,
            "fp8_flops_per_s": self.fp8_flops_per_s,
            "fp4_flops_per_s": self.fp4_flops_per_s,
            "link.bytes_per_s": self.link.bytes_per_s,
            "network.bytes_per_s": self.network.bytes_per_s,
        }
        for field, value in values.items():
            if value is not None and value <= 0:
                raise ValueError(f"{self.name}: {field}={value} must be more than 0")

    def multiplies(self, bits: int) -> bool:
        """Whether the tensor cores multiply numbers of this many bits (4, 8, 16 or 32) as they are."""
        return {4: self.fp4_flops_per_s, 8: self.fp8_flops_per_s}.get(bits, self.bf16_flops_per_s) is not None

    def flops_per_s(self, bits: int) -> float:
        """Peak rate for weights of this many bits: 4, 8, 16 or 32.

        Where the device does not multiply such numbers, vLLM widens the weights in the kernel (weight-only
        quantisation, Marlin) and multiplies in BF16: bytes are saved, operations are not. FP32 is taken
        as half of BF16, the rate of TF32.
        """
        if bits == 4 and self.fp4_flops_per_s is not None:
            return self.fp4_flops_per_s
        if bits == 8 and self.fp8_flops_per_s is not None:
            return self.fp8_flops_per_s
        return self.bf16_flops_per_s / (2 if bits == 32 else 1)


def _nvlink(gigabytes_per_s: float) -> Link:
    return Link("NVLink", gigabytes_per_s * GIGA, NVLINK_LATENCY_S)


def _network(gigabits_per_s: float) -> Link:
    return Link("network", gigabits_per_s / 8 * GIGA, NETWORK_LATENCY_S)


A100_40 = Gpu("A100-40", int(39.4 * GIB), 1.555 * TERA, 312 * TERA, None, None, _nvlink(300), _network(200))
A100_80 = Gpu("A100-80", int(79.15 * GIB), 2.039 * TERA, 312 * TERA, None, None, _nvlink(300), _network(200))
L40S = Gpu(
    "L40S",
    int(44.4 * GIB),
    0.864 * TERA,
    362 * TERA,
    733 * TERA,
    None,
    Link("PCIe", 32 * GIGA, PCIE_LATENCY_S),
    _network(100),
)
H100 = Gpu("H100", int(79.2 * GIB), 3.35 * TERA, 989 * TERA, 1979 * TERA, None, _nvlink(450), _network(400))
H200 = Gpu("H200", int(139.8 * GIB), 4.8 * TERA, 989 * TERA, 1979 * TERA, None, _nvlink(450), _network(400))
B200 = Gpu(
    "B200",
    int(178.35 * GIB),
    7.7 * TERA,
    2250 * TERA,
    4500 * TERA,
    9000 * TERA,
    _nvlink(900),
    _network(400),
)
B300 = Gpu(
    "B300", 288 * 10**9, 8.0 * TERA, 2250 * TERA, 4500 * TERA, 13500 * TERA, _nvlink(900), _network(800)
)

GPUS = {gpu.name: gpu for gpu in (A100_40, A100_80, L40S, H100, H200, B200, B300)}
"""Every device known here, by its name."""


def gpu(name: str) -> Gpu:
    """The device of this name; ValueError with the names that there are."""
    try:
        return GPUS[name]
    except KeyError:
        raise ValueError(f"no GPU named {name!r}; known: {', '.join(GPUS)}") from None
