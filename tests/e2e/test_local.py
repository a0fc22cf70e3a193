"""Does a system go down without leaving a process behind, also when Ray does not help?"""

from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from serve_app import serve_file
from serve_app.config import PROJECT_ROOT
from serve_app.local import LocalSystem, free_port
from tests.e2e.metrics import wait_until

pytestmark = pytest.mark.e2e


def named(system: LocalSystem, name: str) -> int:
    """Return how many processes of the system have `name` in their command line."""
    found = 0
    for process in system.processes():
        with suppress(psutil.NoSuchProcess):  # it may end in between
            found += name in " ".join(process.cmdline())
    return found


def test_ray_dies_hard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray killed at once leaves HAProxy with its port; stopping ends it, and its files are gone too.

    Also: Ray lets nobody in without the run's own token, and comes up for a user who has another one.
    """
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    tree = yaml.safe_load((PROJECT_ROOT / "deploy/local.yaml").read_text())
    tree["http_options"]["port"] = free_port()
    path = tmp_path / "local.yaml"
    path.write_text(yaml.safe_dump(tree))
    # The proxies come up without an application, and so without engines.
    bare = {"http_options": tree["http_options"], "applications": []}
    with LocalSystem(serve_file.load(path), dashboard_port=free_port()) as system:
        system._start_ray()
        system._until(system._dashboard_is_up, "Ray's dashboard", timeout_s=120.0)
        assert httpx.get(f"{system.dashboard_url}/api/serve/applications/", timeout=60).status_code == 401
        answer = system.ask_ray("PUT", "/api/serve/applications/", json=bare, timeout=60)
        assert answer.status_code == 200, answer.text
        wait_until(lambda: named(system, "haproxy.cfg") == 1, timeout_s=60)
        assert system._folder is not None
        folder = Path(system._folder.name)
        assert list(folder.rglob("haproxy.cfg"))
        for process in system.processes():
            if process.name() in ("raylet", "gcs_server") or "HAProxyManager" in " ".join(process.cmdline()):
                process.kill()
        # A process that was just starting looks for the control plane for a minute.
        wait_until(lambda: named(system, "ray::") == 0, timeout_s=180)
        assert named(system, "haproxy.cfg") == 1, "this test is about an HAProxy that outlives Ray"
    assert not list(system.processes())
    assert not folder.exists()
