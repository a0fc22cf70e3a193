"""How are results kept so that a run that is killed leaves no half of a file?"""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, values: object) -> None:
    """Write at once, so that no reader and no kill finds half a file."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values, indent=1) + "\n")
    os.replace(part, path)  # noqa: PTH105 - atomic, and says so


def read_lines(path: Path) -> list[Any]:
    """The values of a file of JSON lines, none without it; not a line that a kill has cut short."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found
