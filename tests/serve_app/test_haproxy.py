"""HAProxy without splicing, and with every port on the host of the API."""

import subprocess
import sys
from pathlib import Path

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
    monkeypatch.setattr(sys, "argv", ["venturi-haproxy", "-sf", "7"])
    haproxy.main()
    assert calls == [(haproxy.BINARY, [str(haproxy.BINARY), "-dS", "-sf", "7"])]


CONFIGURATION = """frontend prometheus
    bind :9101
frontend http_frontend
    bind {host}:8000
listen stats
  bind *:8404
"""


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1", ["127.0.0.1:9101", "127.0.0.1:8000", "127.0.0.1:8404"]),
        ("10.1.2.3", ["10.1.2.3:9101", "10.1.2.3:8000", "10.1.2.3:8404"]),
        ("0.0.0.0", ["0.0.0.0:9101", "0.0.0.0:8000", "0.0.0.0:8404"]),
    ],
)
def test_figures_are_where_the_api_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, wanted: list[str]
) -> None:
    """HAProxy reads the file after its ports have been bound to the host of the API."""
    file = tmp_path / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(host=host))
    monkeypatch.setattr("os.execv", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["venturi-haproxy", "-db", "-f", str(file)])
    haproxy.main()
    lines = file.read_text().splitlines()
    assert [line.split()[1] for line in lines if line.split()[0] == "bind"] == wanted


def test_ray_still_writes_it_so() -> None:
    """The places that are looked for are in Ray Serve's own template; without the mend they are open."""
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

    rendered: str = HAPROXY_CONFIG_TEMPLATE
    for name, value in (("metrics_port", "9101"), ("stats_port", "8404"), ("frontend_port", "8000")):
        rendered = rendered.replace("{{ config." + name + " }}", value)
    rendered = rendered.replace("{{ config.frontend_host }}", "127.0.0.1")
    assert haproxy.bound(rendered).count("bind 127.0.0.1:") == rendered.count("bind 127.0.0.1:") + 2
