"""Leaving: Ray is told, and the last replica is waited for."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.leave import TITLES, leave

TITLED = "import setproctitle, sys, time; setproctitle.setproctitle(sys.argv[1]); time.sleep(60)"


@pytest.fixture
def ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `ray` beside Python that writes down what it was asked; it fails if a file `refuse` is beside it."""
    command = tmp_path / "ray"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n! test -e {tmp_path}/refuse || exit 1\n')
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return tmp_path


@pytest.fixture(params=[f"{TITLES[0]}venturi:latency", *TITLES[1:]])
def replica(request: pytest.FixtureRequest) -> Iterator[psutil.Process]:
    """A process that is named as Ray names Serve's replicas, or its proxies."""
    with subprocess.Popen([Path(sys.prefix) / "bin/python", "-c", TITLED, request.param]) as one:
        process = psutil.Process(one.pid)
        while not "".join(process.cmdline()).startswith(TITLES):
            time.sleep(0.05)
        yield process
        one.kill()


def test_it_waits_for_the_last_replica(ray: Path, replica: psutil.Process) -> None:
    """Other processes do not matter."""

    def processes() -> list[psutil.Process]:
        if time.monotonic() > began_s + 1.5:
            replica.kill()
        return [psutil.Process(), replica]

    began_s = time.monotonic()
    left, what = leave(30, processes)
    assert (left, what.startswith("no replica or proxy left after")) == (True, True)
    assert time.monotonic() - began_s >= 1.5
    asked = (ray / "asked").read_text()
    assert asked.startswith("drain-node --reason DRAIN_NODE_REASON_PREEMPTION")
    assert asked.endswith("--deadline-remaining-seconds 30\n")


def test_it_does_not_wait_longer_than_it_was_given(ray: Path, replica: psutil.Process) -> None:
    """The kubelet would not, either."""
    assert leave(1, lambda: [replica]) == (False, "1 replicas or proxies have not ended within 1 s")


def test_it_does_not_wait_for_a_ray_that_did_not_hear(ray: Path, replica: psutil.Process) -> None:
    """Without its head a cluster drains nothing: the pod would wait half an hour for replicas that stay."""
    (ray / "refuse").touch()
    left, what = leave(30, lambda: [replica])
    assert (left, what) == (False, "Ray did not take the drain: ")
