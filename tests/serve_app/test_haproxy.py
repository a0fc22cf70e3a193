"""HAProxy without splicing."""

import subprocess
import sys

import pytest

from serve_app import haproxy


def test_it_becomes_haproxy() -> None:
    """The command is HAProxy itself, and HAProxy takes the extra option."""
    command = [sys.executable, "-c", "from serve_app.haproxy import main; main()", "-vv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("HAProxy version 2.8")


def test_splicing_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option that turns splicing off comes first; Serve's own arguments follow."""
    calls: list[tuple[object, list[str]]] = []
    monkeypatch.setattr("os.execv", lambda path, argv: calls.append((path, argv)))
    monkeypatch.setattr(sys, "argv", ["venturi-haproxy", "-f", "haproxy.cfg"])
    haproxy.main()
    assert calls == [(haproxy.BINARY, [str(haproxy.BINARY), "-dS", "-f", "haproxy.cfg"])]
