"""How is deploy/local.yaml started to be measured, and changed, and where are the figures written?"""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from parallel.machine import command_line, machine
from serve_app import serve_file
from serve_app.config import PROJECT_ROOT
from serve_app.local import LocalSystem, free_port

RESULTS = Path(__file__).parent / "results"


def local_tree() -> dict[str, Any]:
    """Return deploy/local.yaml with a free port."""
    tree: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "deploy/local.yaml").read_text())
    tree["http_options"]["port"] = free_port()
    return tree


def system_of(tree: Mapping[str, Any], folder: Path) -> LocalSystem:
    """Return a system of this serve file, written into the folder; it has not been started."""
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(dict(tree)))
    return LocalSystem(serve_file.load(path), free_port(), say)


def redeploy(system: LocalSystem, tree: Mapping[str, Any]) -> None:
    """Give the running system another serve file."""
    answer = system.ask_ray("PUT", "/api/serve/applications/", json=dict(tree), timeout=60)
    answer.raise_for_status()


def stop_on_sigterm() -> None:
    """Have SIGTERM end this process as an error would, so that the system is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


def circumstances(module: str, argv: Sequence[str] | None) -> dict[str, Any]:
    """Return the machine, the command, and how busy the machine is now, as JSON values."""
    return {
        "machine": machine(),
        "command": command_line(module, argv),
        "load_average": os.getloadavg()[0],
    }


def write(name: str, record: Mapping[str, Any], out: Path | None) -> None:
    """Write the record to `out`, or as `name` with the time into RESULTS."""
    path = out or RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    say(f"written to {path}")


def say(what: str) -> None:
    """Tell whoever waits."""
    print(what, file=sys.stderr, flush=True)
