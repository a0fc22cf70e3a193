"""What is kept of a tuning run, so that a run that is cut short has lost nothing?

- `timings.jsonl`: every timing as it was taken; a later run in this folder on such a GPU starts from it.
- vLLM's file of each shape, written anew after each round.
- `tuning.json` (or `check.json`): machine, method and a row a batch.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from deploy.kernels.shapes import Shape
from deploy.kernels.space import Config
from parallel.results_file import read_lines, write_json


class Timings:
    """Microseconds a call by shape, batch and configuration, on one kind of GPU."""

    def __init__(self, path: Path, gpu: str) -> None:
        self._path, self._gpu = path, gpu
        self._us: dict[tuple[str, int], dict[Config, float]] = defaultdict(dict)
        for entry in read_lines(path):
            self._read(entry)

    def _read(self, entry: Mapping[str, Any]) -> None:
        if entry["gpu"] == self._gpu and entry["us"] is not None:
            self._us[entry["shape"], entry["batch"]][Config(*entry["config"])] = entry["us"]

    def has(self, shape: Shape, batch: int, config: Config) -> bool:
        """Whether it was tried."""
        return config in self._us[shape.name, batch]

    def add(self, shape: Shape, batch: int, config: Config, us: float | None, note: str = "") -> None:
        """Keep a timing, or the reason why there is none."""
        entry = {"gpu": self._gpu, "shape": shape.name, "batch": batch, "config": config, "us": us}
        with self._path.open("a") as file:
            file.write(json.dumps(entry | ({"note": note} if note else {})) + "\n")
        self._us[shape.name, batch][config] = inf if us is None else us

    def best(self, shape: Shape, batch: int, count: int) -> list[Config]:
        """The fastest configurations of a batch, the fastest first."""
        found = sorted((us, config) for config, us in self._us[shape.name, batch].items() if us < inf)
        return [config for _, config in found[:count]]

    def best_us(self, shape: Shape, batch: int) -> float:
        """The fastest time of a batch so far; infinite if there is none."""
        return min(self._us[shape.name, batch].values(), default=inf)


def write_configs(path: Path, configs: Mapping[int, Config], triton_version: str) -> None:
    """Write vLLM's form of tuned configurations: by batch, with the compiler that they were tuned with."""
    values: dict[str, object] = {"triton_version": triton_version}
    values |= {str(batch): configs[batch].to_vllm() for batch in sorted(configs)}
    write_json(path, values)


def read_configs(path: Path) -> dict[int, Config]:
    """Read it back; OSError without the file."""
    values = json.loads(path.read_text())
    return {int(batch): Config.from_vllm(entry) for batch, entry in values.items() if batch.isdigit()}


def nearest(configs: Mapping[int, Config], batch: int) -> Config:
    """The configuration that vLLM takes for a batch."""
    return configs[min(configs, key=lambda size: abs(size - batch))]


COLUMNS = ("batch", "default", "default us", "tuned", "tuned us", "speed-up", "quartiles", "skewed", "GB/s")


def table(rows: Iterable[Mapping[str, object]], columns: Sequence[str] = COLUMNS) -> str:
    """A Markdown table of a shape's rows."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(str(row.get(column, '-')) for column in columns)} |" for row in rows]
    return "\n".join(lines)
