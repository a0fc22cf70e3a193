"""In a real network, with real sockets: nothing inside is reached, whatever leads there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.config import PROJECT_ROOT
from tests.serve_app.ingress import namespace

ALONE = ["unshare", "--map-root-user", "--net", "--mount"]


def refusal() -> str | None:
    """Why there can be no network of our own here; None if there can."""
    if missing := [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]:
        return f"not installed: {', '.join(missing)}"
    done = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


def test_nothing_inside_is_reached(tmp_path: Path) -> None:
    """By address, name, redirect, or a name that changes: only the public server hears of it."""
    if why := refusal():
        pytest.skip(f"no network namespace: {why}")
    command = [*ALONE, sys.executable, "-m", "tests.serve_app.ingress.namespace", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fetched"].pop("https://example.com/a") is True
    assert set(found["fetched"].values()) == {False}
    assert found["reached"] == []
    assert sorted(found["control"]) == sorted(namespace.INSIDE), "the traps would have noted a connection"
    targets = [target for _, target in found["asked"]]
    assert targets == ["/a", *(f"/{number}" for number in range(len(namespace.TRAPS))), "/rebind"]
