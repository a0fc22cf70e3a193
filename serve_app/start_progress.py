"""What has become of a starting system since it was asked last?"""

import contextlib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from parallel.engine_log import last_words
from serve_app.errors import StartError

if TYPE_CHECKING:
    from serve_app.local import LocalSystem


_WAITS = re.compile(
    r"Resources required for each replica: (.+), total resources available: (.+)\. Use", re.DOTALL
)
"""Ray Serve's message when a replica has found no place for half a minute."""


@dataclass
class Progress:
    """Says what has changed since it was asked last; now and then also that nothing has."""

    system: "LocalSystem"
    heartbeat_s: float = 10.0
    _said: dict[str, str] = field(default_factory=dict)
    _troubles: dict[str, str] = field(default_factory=dict)
    _said_at_s: float = field(default_factory=time.monotonic)

    def is_running(self) -> bool:
        """Whether all applications of the file run. Raises StartError if one failed."""
        apps = self.system.applications() or {}
        for app_name, app in apps.items():
            for name, deployment in app["deployments"].items():
                replicas = [replica["state"].lower() for replica in deployment["replicas"]]
                self._say(name, ", ".join(replicas) or deployment["status"].lower().replace("_", " "))
                self._say_trouble(name, deployment["message"])
            if app["status"] == "DEPLOY_FAILED":
                raise StartError(f"application {app_name!r} did not start: {_reason(app)}")
        return bool(apps) and all(app["status"] == "RUNNING" for app in apps.values())

    def _say_trouble(self, name: str, message: str) -> None:
        """Pass on the last line of a traceback of Serve's, or what it waits for; it goes on trying."""
        if "Traceback" in message:
            trouble = message.strip().splitlines()[-1]
        elif waits := _WAITS.search(message):
            trouble = f"no node has room for a replica: it needs {waits[1]}, and there is {waits[2]}"
        else:
            return
        if self._troubles.get(name) != trouble:
            self._troubles[name] = trouble
            self.system.progress(f"{name}: {trouble}")

    def _say(self, name: str, state: str) -> None:
        now = time.monotonic()
        if self._said.get(name) != state:
            self.system.progress(f"{name}: {state}")
            self._said[name] = state
        elif state != "running" and now - self._said_at_s > self.heartbeat_s:
            words = self._of_engine(name)
            self.system.progress(f"{name}: still {state}{f'; its engine: {words}' if words else ''}")
        else:
            return
        self._said_at_s = now

    def _of_engine(self, deployment: str) -> str:
        """Return what an engine of the deployment wrote last, wherever Ray has it write."""
        replica = re.compile(rf"ServeReplica:[^:\s]+:{re.escape(deployment)}(?![\w-])")
        for process in self.system.processes():
            with contextlib.suppress(psutil.Error, OSError):
                parent = process.parent()
                if "EngineCore" in _title(process) and parent and replica.search(_title(parent)):
                    logs = [Path(f"/proc/{process.pid}/fd/{fd}").resolve(strict=True) for fd in (1, 2)]
                    return last_words(max(logs, key=lambda log: log.stat().st_mtime))
        return ""


def _title(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


def _reason(app: dict[str, Any]) -> str:
    messages = [app["message"], *(d["message"] for d in app["deployments"].values())]
    return "\n".join(m for m in messages if m)
