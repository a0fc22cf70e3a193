"""Does `up` stop what it started, however it is ended, and does it ask Ray itself?

A stand-in for Ray answers as its dashboard does while it starts, and takes a while to delete applications.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serve_app.config import PROJECT_ROOT
from serve_app.local import free_port

RAY = """#!{python}
import http.server, os, sys, time
from pathlib import Path

class Dashboard(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(503)
        self.end_headers()
    def do_DELETE(self):
        Path("{folder}/deleting").touch()
        time.sleep(1)
        self.send_response(200)
        self.end_headers()

Path("{folder}/pid").write_text(str(os.getpid()))
port = next(int(given.partition("=")[2]) for given in sys.argv if given.startswith("--dashboard-port="))
http.server.ThreadingHTTPServer(("127.0.0.1", port), Dashboard).serve_forever()
"""

UP = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGHUP, signal.{hangup})
sys.executable = "{folder}/python"  # Ray is what lies beside it
from serve_app import local, serve_file, up
up.LocalSystem = lambda file: local.LocalSystem(file, dashboard_port={port})
up.up(serve_file.load(Path("{folder}/serve.yaml")))
"""


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, 20 s at most."""
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@pytest.fixture
def hangup() -> str:
    """What the terminal's end does to a process that has not said."""
    return "SIG_DFL"


@pytest.fixture
def up(tmp_path: Path, hangup: str) -> Iterator[subprocess.Popen[bytes]]:
    """`up`, with a Ray that is starting."""
    (tmp_path / "ray").write_text(RAY.format(python=sys.executable, folder=tmp_path))
    (tmp_path / "ray").chmod(0o755)
    file = (PROJECT_ROOT / "deploy" / "local.yaml").read_text().replace("port: 8000", f"port: {free_port()}")
    (tmp_path / "serve.yaml").write_text(file)
    process = subprocess.Popen(
        [sys.executable, "-c", UP.format(folder=tmp_path, port=free_port(), hangup=hangup)],
        cwd=PROJECT_ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "http_proxy": "http://127.0.0.1:9"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        until((tmp_path / "pid").exists)
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGINT,), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGINT), (signal.SIGHUP,)],
    ids=lambda signals: " ".join(one.name for one in signals),
)
def test_signals(up: subprocess.Popen[bytes], tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    """Ctrl-C, a supervisor, the terminal's end: once, or again while it stops. Ray was asked, by no proxy."""
    first, *others = signals
    up.send_signal(first)
    until((tmp_path / "deleting").exists)
    for other in others:
        up.send_signal(other)
    output, _ = up.communicate(timeout=20)
    assert output.decode().rstrip().endswith("stopped; processes left: none")
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("hangup", ["SIG_IGN"])
def test_under_nohup(up: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """The terminal's end is none of its own; Ctrl-C is."""
    up.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert not (tmp_path / "deleting").exists()
    up.send_signal(signal.SIGINT)
    output, _ = up.communicate(timeout=20)
    assert output.decode().rstrip().endswith("stopped; processes left: none")


def test_nobody_reads(up: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """What it says goes nowhere, as behind `| head`."""
    assert up.stdout is not None
    up.stdout.close()
    up.send_signal(signal.SIGINT)
    until(lambda: up.poll() is not None)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
