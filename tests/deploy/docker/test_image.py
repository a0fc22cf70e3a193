"""The image holds what it needs, runs as nobody special, and is healthy when /ready says so."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from serve_app.config import PROJECT_ROOT
from serve_app.local import START_S

DOCKERFILE = PROJECT_ROOT / "deploy/docker/Dockerfile"
LET_IN = [line[1:] for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]


def test_hadolint_finds_nothing() -> None:
    """Neither in the instructions nor, by ShellCheck, in what RUN runs."""
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert (result.stdout + result.stderr, result.returncode) == ("", 0)


def test_the_image_does_not_run_as_root() -> None:
    """The last user is a number, which Kubernetes can compare with runAsNonRoot."""
    users = re.findall(r"^USER (.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert users
    assert int(users[-1]) > 0


def test_health_is_readiness() -> None:
    """Each effort has a replica, not only: the HTTP server answers."""
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert "http://127.0.0.1:8000/ready" in check


def test_health_is_not_asked_for_before_a_start_is_given_up() -> None:
    """`up` waits as long for pools that load."""
    (minutes,) = re.findall(r"^HEALTHCHECK --start-period=(\d+)m ", DOCKERFILE.read_text(), re.MULTILINE)
    assert 60 * int(minutes) == START_S


def test_every_copied_file_exists() -> None:
    """A lock that is renamed would otherwise be missed only when an image is built."""
    copies = re.findall(r"^COPY (.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = [source for copy in copies for source in copy.split()[:-1]]
    assert "deploy/requirements/gpu.lock" in sources
    for source in sources:
        assert (PROJECT_ROOT / source).exists(), source


def test_what_pyproject_names_is_let_in() -> None:
    """The build backend reads both."""
    assert {"README.md", "LICENSE"} <= set(LET_IN)


def test_the_project_works_from_the_image_s_files_alone(tmp_path: Path) -> None:
    """What .dockerignore keeps out is not needed: a serve file is checked without it."""
    for name in LET_IN:
        source = PROJECT_ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    check = [sys.executable, "-m", "serve_app", "check", "deploy/local.yaml"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(check, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("deploy/local.yaml: valid\n")
