"""How does a whole system come up on one machine, and go down without leaving a process behind?"""

import contextlib
import math
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
import yaml

from serve_app.config import PROJECT_ROOT, process_environment
from serve_app.errors import StartError
from serve_app.serve_file import ServeFile
from serve_app.start_progress import Progress

MARK = "VENTURI_LOCAL_RUN"
"""An environment variable that every process of one local system inherits, and nothing else has."""

READY_PATH = "/ready"
"""What the ingress answers with 200 when every pool takes traffic."""

START_S = 1800.0
"""What the pools may take to load: 112 GiB of weights from a file server take many minutes. Of an engine that
fails one hears at once."""

POLL_PERIOD_S = 0.5
STOP_PATIENCE_S = 10.0

RAY_SERVE_SETTINGS = {
    # Ray would run its workers, and so the engines, behind everything else on the machine.
    "RAY_worker_niceness": "0",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(sys.executable).with_name("venturi-haproxy")),
    # Behind HAProxy an ingress replica would stay 30 s longer, for load balancers that are not here.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Which would have log lines come to the files by the thousand, or with the next error.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
}
"""Environment of Ray itself. tests/bench/README.md has what HAProxy and Serve's throughput settings gain."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class LocalSystem:
    """Ray and one serve file on this machine. `with LocalSystem(...) as system:` stops it at the end."""

    file: ServeFile
    dashboard_port: int = 8265
    say: Callable[[str], None] = print
    ray_serve_settings: dict[str, str] = field(default_factory=lambda: dict(RAY_SERVE_SETTINGS))
    ray_token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    """Without it nobody gets in: Ray listens on every address of the machine, and runs what it is given."""
    ready_path: str = READY_PATH
    _run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _ray: "subprocess.Popen[bytes] | None" = None
    _ray_output: IO[bytes] | None = None
    _folder: "tempfile.TemporaryDirectory[str] | None" = None
    _began_s: float = field(default_factory=time.monotonic)

    @property
    def dashboard_url(self) -> str:
        """Where Ray's dashboard and its REST API are."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def __enter__(self) -> "LocalSystem":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout_s: float = START_S) -> None:
        """Start Ray, deploy the file and wait until every pool takes traffic. Raises StartError."""
        self._refuse_taken_ports()
        self.progress("starting Ray")
        self._start_ray()
        self._until(self._dashboard_is_up, "Ray's dashboard", timeout_s=120.0)
        self.progress(f"deploying {self.file.path}")
        tree = yaml.safe_load(self.file.path.read_text())
        answer = self.ask_ray("PUT", "/api/serve/applications/", json=tree, timeout=60.0)
        if answer.status_code != 200:
            raise StartError(f"Ray Serve refused {self.file.path}: {answer.text}")
        self._until(Progress(self).is_running, "the pools", timeout_s)
        self._until(self._is_ready, "the ingress", timeout_s=60.0)
        self.progress(f"ready at {self.file.url}")

    def stop(self) -> None:
        """Stop everything this object started; kill by id what does not go by itself."""
        if self._ray is None:
            return
        with contextlib.suppress(OSError):  # nobody may read it any more
            self.progress("stopping")
        with contextlib.suppress(httpx.HTTPError):
            # Engines that are asked leave nothing behind; nobody waits for those that take long.
            self.ask_ray("DELETE", "/api/serve/applications/", timeout=STOP_PATIENCE_S / 2)
        ray, self._ray = self._ray, None
        ray.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            ray.wait(STOP_PATIENCE_S)
        _, alive = psutil.wait_procs(list(self.processes()), timeout=3)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        ray.wait()
        if self._ray_output:
            self._ray_output.close()
        if self._folder:
            self._folder.cleanup()
        left = [p.pid for p in self.processes()]
        with contextlib.suppress(OSError):
            self.progress(f"stopped; processes left: {left or 'none'}")

    def ask_ray(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Return the answer of Ray's REST API. Raises httpx.HTTPError."""
        headers = {"authorization": f"Bearer {self.ray_token}"}
        # Through no proxy that the environment names: it would see the token.
        return httpx.request(method, self.dashboard_url + path, headers=headers, trust_env=False, **given)

    def processes(self) -> Iterator[psutil.Process]:
        """Yield every live process of this system, wherever it was forked."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self._run_id:
                    yield process

    def watch(self) -> None:
        """Wait until Ray ends by itself, which it should not: raises StartError then."""
        assert self._ray is not None
        code = self._ray.wait()
        raise StartError(f"Ray ended with status {code}")

    def _start_ray(self) -> None:
        command = [
            str(Path(sys.executable).with_name("ray")),
            *("start", "--head", "--block", "--disable-usage-stats", "--port=0"),
            *("--include-dashboard=true", f"--dashboard-port={self.dashboard_port}"),
            *("--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", "--log-color=false"),
        ]
        env = process_environment() | self._of_this_run() | self.ray_serve_settings | {MARK: self._run_id}
        env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.ray_token}
        env.pop("RAY_ADDRESS", None)
        self._ray_output = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        # Its own session: a Ctrl-C in the terminal reaches this process alone, which stops the rest in order.
        self._ray = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._ray_output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _of_this_run(self) -> dict[str, str]:
        """Return the proxies' ports, files and patience; Ray's defaults are one set for all of a machine."""
        # Not below TMPDIR, which may be long: a socket's whole path has room for about a hundred characters.
        self._folder = tempfile.TemporaryDirectory(prefix="venturi-", dir="/tmp")
        folder = Path(self._folder.name)
        settings = {
            "FALLBACK_PROXY_HTTP_PORT": free_port(),
            "HAPROXY_METRICS_PORT": free_port(),
            "HAPROXY_STATS_PORT": free_port(),
            "HAPROXY_CONFIG_FILE_LOC": folder / "haproxy.cfg",
            "HAPROXY_SOCKET_PATH": folder / "admin.sock",
            "HAPROXY_METRICS_SOCKET_PATH": folder / "metrics.sock",
            "HAPROXY_SERVER_STATE_BASE": folder,
            "HAPROXY_SERVER_STATE_FILE": folder / "server-state",
            # When an ingress replica comes or goes, HAProxy is replaced; the old one may finish its answers.
            "HAPROXY_HARD_STOP_AFTER_S": math.ceil(self.file.settings.drain_s),
        }
        return {f"RAY_SERVE_{name}": str(value) for name, value in settings.items()}

    def _refuse_taken_ports(self) -> None:
        for name, port in (("http_options.port", self.file.port), ("dashboard port", self.dashboard_port)):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise StartError(f"{name} {port} is taken by another process on this machine")

    def _until(self, done: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not done():
            if self._ray is not None and self._ray.poll() is not None:
                raise StartError(
                    f"Ray ended with status {self._ray.returncode} before {what} came up; it said:\n"
                    f"{self._said_by_ray()}"
                )
            if time.monotonic() > deadline_s:
                raise StartError(f"{what} did not come up within {timeout_s:.0f} s")
            time.sleep(POLL_PERIOD_S)

    def _said_by_ray(self) -> str:
        assert self._ray_output is not None
        self._ray_output.seek(0)
        return self._ray_output.read().decode(errors="replace").strip()[-2000:]

    def _dashboard_is_up(self) -> bool:
        return self.applications() is not None

    def applications(self) -> dict[str, Any] | None:
        """Return what Serve says of its applications, by name, or None while nobody answers."""
        with contextlib.suppress(httpx.HTTPError):
            answer = self.ask_ray("GET", "/api/serve/applications/", timeout=10.0)
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()["applications"]
                return found
        return None

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(self.file.url + self.ready_path, timeout=10.0, trust_env=False)
            return answer.status_code == 200
        return False

    def progress(self, what: str) -> None:
        """Say it, with the seconds since the start."""
        self.say(f"{time.monotonic() - self._began_s:6.1f} s  {what}")
