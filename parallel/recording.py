"""What does a recording of expert load hold?"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from parallel.load import ExpertLoad, load_of

FORMATS = """
recordings of expert load: counts of the tokens that chose each expert, in any of three forms

  JSON lines   an object a line, with counts [layers][experts] and, if they are known, slots (the expert in
               each slot, [layers][slots]), ranks, and pool, replica or effort to name it by. What
               GET /venturi/experts answers is such a line too:
                   curl -s localhost:8000/venturi/experts >> load.jsonl
  .npy         whole numbers [layers, experts] or [windows, layers, experts]
  .npz         the same as `counts`, and optionally `slots` and `ranks`
"""

NAMES = ("pool", "replica", "effort")
"""What a window may be named by."""


@dataclass(frozen=True, eq=False)
class Window:
    """One window of a recording."""

    name: str
    load: ExpertLoad


def read(path: Path, ranks: int | None = None) -> list[Window]:
    """The windows of a recording, all of one size. `ranks` takes the place of the recording's own.

    ValueError, with the line or the file, for anything that is none of FORMATS.
    """
    try:
        windows = _arrays(path, ranks) if path.suffix in (".npy", ".npz") else _lines(path, ranks)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    if not windows:
        raise ValueError(f"{path}: no window in it")
    for window in windows:
        if window.load.counts.shape != windows[0].load.counts.shape:
            raise ValueError(
                f"{path}: window {window.name} has counts {window.load.counts.shape}, "
                f"the first one {windows[0].load.counts.shape}"
            )
    return windows


def _arrays(path: Path, ranks: int | None) -> list[Window]:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            values: dict[str, Any] = {"counts": found} if isinstance(found, np.ndarray) else dict(found)
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path}: {error}") from None
    if "counts" not in values:
        raise ValueError(f"{path}: holds {', '.join(values) or 'nothing'}, not counts")
    if "ranks" in values:
        given = values["ranks"]
        if given.size != 1 or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"{path}: ranks={given.tolist()!r} must be a whole number")
        values["ranks"] = int(given.item())
    counts = values["counts"]
    series = counts if counts.ndim == 3 else [counts]
    return [_window(f"{path}", str(n), values | {"counts": one}, ranks) for n, one in enumerate(series)]


def _lines(path: Path, ranks: int | None) -> list[Window]:
    windows: list[Window] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: {error}") from None
        several = values["data"] if isinstance(values, dict) and "data" in values else [values]
        if not isinstance(several, list):
            raise ValueError(f"{where}: data must be a list, not {several!r}")
        for one in several:
            names = [str(one[name]) for name in NAMES if name in one] if isinstance(one, dict) else []
            windows.append(_window(where, " ".join(names) or str(number), one, ranks))
    return windows


def _window(where: str, name: str, values: Any, ranks: int | None) -> Window:
    try:
        return Window(name, load_of(values, ranks))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
