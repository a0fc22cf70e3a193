"""What is measured, and how does it come up and go down?"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import psutil

from serve_app.config import PROJECT_ROOT, process_environment
from serve_app.errors import StartError
from serve_app.local import READY_PATH, LocalSystem
from serve_app.serve_file import ServeFile
from tests.bench import cpu

START_TIMEOUT_S = 240.0
STOP_PATIENCE_S = 20.0

Say = Callable[[str], None]


class System(Protocol):
    """One server under measurement."""

    @property
    def url(self) -> str:
        """Where it listens."""
        ...

    def start(self) -> None:
        """Return when it answers. Raises StartError."""
        ...

    def stop(self) -> None:
        """Stop it with all its processes."""
        ...

    def usage(self) -> cpu.Usage:
        """Read the processor time of its processes."""
        ...


@dataclass
class RawServer:
    """vLLM's own server, in a session of its own."""

    file: ServeFile
    pool: str
    port: int
    log: Path
    as_shipped: bool = False
    start_timeout_s: float = START_TIMEOUT_S
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it is healthy. Raises StartError with the end of its log."""
        command = [sys.executable, "-m", "tests.bench.raw_server"]
        command += [str(self.file.path), self.pool, str(self.port)]
        command += ["--as-shipped"] if self.as_shipped else []
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=process_environment() | self.file.settings.engine_environment(self.pool),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + self.start_timeout_s
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise StartError(f"vLLM's server did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.5)

    def stop(self) -> None:
        """Stop the server; kill by id what does not go by itself."""
        if self._process is None:
            return
        family = self._family()
        if self._process.poll() is None:
            self._process.terminate()
        _, alive = psutil.wait_procs(family, timeout=STOP_PATIENCE_S)
        for process in alive:
            process.kill()
        self._process.wait()
        self._process = None

    def usage(self) -> cpu.Usage:
        """Read the processor time of its processes."""
        return cpu.read((process, cpu.group_of_raw(cpu.command(process))) for process in self._family())

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []  # it has ended by itself

    def _is_healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False


@dataclass
class OnRay:
    """An application of Ray Serve over HTTP, as `serve_app` starts Venturi on one machine."""

    file: ServeFile
    dashboard_port: int
    say: Say
    ray_serve_settings: Mapping[str, str] = field(default_factory=dict)
    start_timeout_s: float = START_TIMEOUT_S
    ready_path: str = READY_PATH
    """What answers 200 as soon as requests may come."""
    _system: LocalSystem | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.file.url

    def start(self) -> None:
        """Return when it takes traffic. Raises StartError."""
        self._system = LocalSystem(
            self.file,
            self.dashboard_port,
            self.say,
            dict(self.ray_serve_settings),
            ready_path=self.ready_path,
        )
        self._system.start(self.start_timeout_s)

    def stop(self) -> None:
        """Stop Ray and all that runs on it."""
        if self._system is not None:
            self._system.stop()

    def usage(self) -> cpu.Usage:
        """Read the processor time of its processes."""
        assert self._system is not None
        return cpu.read((process, cpu.group_of(cpu.command(process))) for process in self._system.processes())
