"""A whole system on this machine: what is said while it comes up, and what stops it before it starts.

That it really comes up and goes down is tests/e2e's.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app import local
from serve_app.config import parse
from serve_app.errors import StartError
from serve_app.local import LocalSystem
from serve_app.serve_file import ServeFile
from serve_app.start_progress import Progress
from tests.serve_app.samples import args


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def free() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def system(said: list[str], port: int, dashboard_port: int = 8265) -> LocalSystem:
    """Return a system that has not been started, and notes what it says."""
    file = ServeFile(Path("some.yaml"), parse(args()), "127.0.0.1", port, "/")
    return LocalSystem(file, dashboard_port, said.append)


def test_a_taken_port(taken: int, free: int) -> None:
    """A port that is in use stops the start before anything is started; the error names it."""
    said: list[str] = []
    with pytest.raises(StartError, match=rf"^http_options\.port {taken} is taken by another process"):
        system(said, taken).start()
    with pytest.raises(StartError, match=rf"^dashboard port {taken} is taken by another process"):
        system(said, free, taken).start()
    assert said == []


def test_stop_before_start(free: int) -> None:
    """Stopping what was never started does nothing."""
    said: list[str] = []
    with system(said, free):
        pass
    assert said == []


def test_processes_are_known_by_their_mark(free: int) -> None:
    """A process belongs to the system whose mark it inherited, and to no other."""
    ours, other = system([], free), system([], free)
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        env=os.environ | {local.MARK: ours._run_id},
    )
    try:
        assert [p.pid for p in ours.processes()] == [child.pid]
        assert list(other.processes()) == []
    finally:
        child.communicate(b"\n")
    assert list(ours.processes()) == []


def test_haproxys_files_are_this_runs_own(free: int) -> None:
    """Two systems on one machine share none of HAProxy's files, whose sockets' paths are not too long."""
    ours, other = system([], free), system([], free)
    settings, others = ours._of_this_run(), other._of_this_run()
    try:
        files = [name for name, value in settings.items() if value.startswith("/")]
        assert "RAY_SERVE_HAPROXY_SOCKET_PATH" in files
        assert all(settings[name] != others[name] for name in files)
        # Serve puts a folder named after the node between folder and file; HAProxy takes 97 characters.
        sockets = [Path(settings[name]) for name in files if settings[name].endswith(".sock")]
        assert all(len(str(path.parent / ("f" * 56) / path.name)) <= 97 for path in sockets)
        # Longer than any answer: 1800 s, and a margin.
        assert settings["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"] == "1810"
    finally:
        for one in (ours, other):
            assert one._folder is not None
            one._folder.cleanup()


def state(app: str, message: str = "", **deployments: list[str]) -> dict[str, Any]:
    """Return what Ray Serve tells of an application and its deployments' replicas."""
    told = {
        name: {"status": "UPDATING", "message": "", "replicas": [{"state": s} for s in states]}
        for name, states in deployments.items()
    }
    return {"venturi": {"status": app, "message": message, "deployments": told}}


def test_progress_says_what_changed(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Each change of a deployment is said once; what stays the same is not repeated."""
    said: list[str] = []
    states: list[dict[str, Any] | None] = [
        None,
        {},
        state("DEPLOYING", throughput=[]),
        state("DEPLOYING", throughput=["STARTING"], latency=["STARTING"]),
        state("DEPLOYING", throughput=["STARTING"], latency=["STARTING"]),
        state("DEPLOYING", throughput=["RUNNING", "STARTING"], latency=["RUNNING"]),
        state("RUNNING", throughput=["RUNNING", "RUNNING"], latency=["RUNNING"]),
    ]
    rest = iter(states)
    monkeypatch.setattr(LocalSystem, "applications", lambda self: next(rest))
    progress = Progress(system(said, free))
    assert [progress.is_running() for _ in states] == [False] * 6 + [True]
    assert [line.split(" s  ")[1] for line in said] == [
        "throughput: updating",
        "throughput: starting",
        "latency: starting",
        "throughput: running, starting",
        "latency: running",
        "throughput: running, running",
    ]


def test_other_applications_of_the_file_run_as_well(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """One of them that is quick is not taken for all."""
    other = {"other": {"status": "RUNNING", "message": "", "deployments": {}}}
    states = iter([other, other | state("DEPLOYING", latency=["STARTING"]), other | state("RUNNING")])
    monkeypatch.setattr(LocalSystem, "applications", lambda self: next(states))
    progress = Progress(system([], free))
    assert [progress.is_running() for _ in range(3)] == [True, False, True]


def test_progress_says_that_it_still_lives(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """When nothing has changed for a while, that is said too."""
    said: list[str] = []
    monkeypatch.setattr(LocalSystem, "applications", lambda self: state("DEPLOYING", throughput=["STARTING"]))
    progress = Progress(system(said, free), heartbeat_s=-1)
    for _ in range(2):
        assert not progress.is_running()
    assert [line.split(" s  ")[1] for line in said] == ["throughput: starting", "throughput: still starting"]


LOADING = "(Worker pid=7) Loading safetensors checkpoint shards:  50% Completed | 1/2\r"
REPLICA = """
import subprocess, sys
with open(sys.argv[2], "w") as log:
    log.write({said!r})
    log.flush()
    engine = [sys.executable, "-c", "input()", "VLLM::EngineCore"]
    subprocess.run(engine, stdout=log, stderr=log, stdin=sys.stdin)
"""


def test_progress_says_what_an_engine_says(
    monkeypatch: pytest.MonkeyPatch, free: int, tmp_path: Path
) -> None:
    """The engine's own bar is passed on, of the deployment whose replica started it."""
    said: list[str] = []
    monkeypatch.setattr(LocalSystem, "applications", lambda self: state("DEPLOYING", fast=["STARTING"]))
    running = system(said, free)
    title = "ray::ServeReplica:venturi:fast.initialize_and_get_metadata"
    replica = [sys.executable, "-c", REPLICA.format(said=LOADING), title, str(tmp_path / "log")]
    env = os.environ | {local.MARK: running._run_id}
    with subprocess.Popen(replica, stdin=subprocess.PIPE, env=env) as process:
        try:
            progress = Progress(running, heartbeat_s=-1)
            wanted = "Loading safetensors checkpoint shards:  50% Completed | 1/2"
            while progress._of_engine("fast") != wanted:
                assert process.poll() is None
                time.sleep(0.05)
            assert [progress.is_running() for _ in range(2)] == [False, False]
            assert progress._of_engine("faster") == progress._of_engine("fas") == ""
        finally:
            process.communicate(b"\n")
    assert said[-1].endswith(f"fast: still starting; its engine: {wanted}")


TRACEBACK = "Traceback (most recent call last):\n  File x\nStartError: the engine did not start: no room\n"
NO_PLACE = (
    "Deployment 'fast' in application 'venturi' has 1 replicas that have taken more than 30s to be "
    "scheduled. This may be due to waiting for the cluster to auto-scale or for a runtime environment to be "
    "installed. Resources required for each replica: [{'CPU': 2.0, 'GPU': 1.0}], total resources available: "
    "{'CPU': 1.0}. Use `ray status` for more details."
)


@pytest.mark.parametrize(
    ("message", "trouble"),
    [
        (TRACEBACK, "StartError: the engine did not start: no room"),
        (
            NO_PLACE,
            "no node has room for a replica: it needs [{'CPU': 2.0, 'GPU': 1.0}], and there is {'CPU': 1.0}",
        ),
        ("Upscaling from 0 to 1 replicas.", None),
    ],
)
def test_progress_says_what_holds_it_up(
    monkeypatch: pytest.MonkeyPatch, free: int, message: str, trouble: str | None
) -> None:
    """Once; Ray Serve goes on trying."""
    said: list[str] = []
    starting = state("DEPLOYING", fast=["STARTING"])
    starting["venturi"]["deployments"]["fast"]["message"] = message
    monkeypatch.setattr(LocalSystem, "applications", lambda self: starting)
    progress = Progress(system(said, free))
    assert [progress.is_running() for _ in range(2)] == [False, False]
    assert [line.split(" s  ")[1] for line in said[1:]] == ([f"fast: {trouble}"] if trouble else [])


def test_progress_of_a_failure(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """An application that failed ends the wait, with what Ray Serve says of it."""
    monkeypatch.setattr(
        LocalSystem, "applications", lambda self: state("DEPLOY_FAILED", "tp=3 does not divide 32")
    )
    with pytest.raises(StartError, match=r"application 'venturi' did not start: tp=3 does not divide 32"):
        Progress(system([], free)).is_running()


def test_patience(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """What does not come up in time is named."""
    monkeypatch.setattr(local, "POLL_PERIOD_S", 0.01)
    with pytest.raises(StartError, match=r"^the pools did not come up within 0 s$"):
        system([], free)._until(lambda: False, "the pools", 0.02)


def test_nobody_there(free: int) -> None:
    """Addresses where nobody listens have nothing to tell yet."""
    nothing = system([], free, free)
    assert nothing.applications() is None
    assert not nothing._is_ready()
