"""Measuring servers after a plan: what is asked and written, and what a second call leaves alone."""

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from serve_app.errors import StartError
from serve_app.local import READY_PATH
from serve_app.serve_file import ServeFile
from tests.bench import ray_llm, served
from tests.bench.cpu import Usage
from tests.bench.plan import Server, read
from tests.bench.systems import OnRay
from tests.bench.test_mixed import Server as Scripted
from tests.bench.test_mixed import server  # noqa: F401 - a fixture

PLAN: dict[str, Any] = {
    "serve_file": "deploy/local.yaml",
    "load": {"prompt_tokens": 4, "answer_tokens": 3},
    "servers": [
        {
            "name": "ours",
            "kind": "venturi",
            "pools": {"throughput": {}},
            "loads": [{"concurrency": 2, "requests": 4}, {"concurrency": 1, "requests": 2, "tokens": [5, 9]}],
        },
        {
            "name": "theirs",
            "kind": "fixed",
            "pools": {"latency": {}},
            "loads": [{"concurrency": 1, "requests": 1}],
        },
    ],
}


class System:
    """The scripted server in place of a real one."""

    starts: ClassVar[list[str]] = []
    breaks = False

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url

    def start(self) -> None:
        """Come up, or not."""
        self.starts.append(self.name)
        if self.breaks and self.name == "ours":
            raise StartError("no GPU here")

    def stop(self) -> None:
        """Nothing to stop."""

    def usage(self) -> Usage:
        """No processor time."""
        return Usage({}, 0.0)


@pytest.fixture
def plan(
    server: Scripted,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Path:
    """A plan whose servers are the scripted one."""

    def system(self: served.Run, of: Server, file: ServeFile, folder: Path) -> System:
        assert file.settings.pools.keys() == of.pools.keys()
        return System(of.name, f"http://127.0.0.1:{server.port}")

    monkeypatch.setattr(served.Run, "_system", system)
    monkeypatch.setattr(served, "WARM_UP", {"concurrency": 1, "requests": 1})
    monkeypatch.setattr(System, "starts", [])
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN))
    return path


def test_every_load_of_every_server_is_asked_once(
    plan: Path,
    server: Scripted,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All figures stand in the file and the table; a second call starts nothing."""
    out = tmp_path / "out.json"
    assert served.main([str(plan), "--out", str(out)]) == 0
    found = json.loads(out.read_text())["servers"]
    assert [row["found"]["requests"] for row in found["ours"]["loads"]] == [4, 2]
    assert found["ours"]["loads"][1]["found"]["output_tokens_per_s"] > 0
    assert [path for path, _ in server.asked].count("/v1/completions") == 2
    printed = capsys.readouterr().out
    assert "| asked for | clients | ours | theirs |" in printed
    assert re.search(r"^\| tokens, 4 in, 3 out \| 1 \| \d+ / \d+\.\d / \d+ \|  \|$", printed, re.MULTILINE)
    assert served.main([str(plan), "--out", str(out)]) == 0
    assert System.starts == ["ours", "theirs"]


def test_a_server_that_does_not_start_is_written_down(
    plan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next one's turn comes; the exit status says that something is missing."""
    monkeypatch.setattr(System, "breaks", True)
    out = tmp_path / "out.json"
    assert served.main([str(plan), "--out", str(out)]) == 1
    found = json.loads(out.read_text())["servers"]
    assert found["ours"]["error"] == "no GPU here"
    assert len(found["theirs"]["loads"]) == 1


def test_no_load_begins_after_the_time_is_up(plan: Path, tmp_path: Path) -> None:
    """What has not been asked is not in the file."""
    out = tmp_path / "out.json"
    assert served.main([str(plan), "--out", str(out), "--budget-s", "0", "--only", "theirs"]) == 1
    found = json.loads(out.read_text())["servers"]
    assert found["theirs"]["loads"] == []
    assert "out of time" in found["theirs"]["error"]


def of_kind(kind: str, folder: Path) -> Path:
    """Write a plan of one server."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN | {"servers": [PLAN["servers"][0] | {"kind": kind}]}))
    return path


@pytest.mark.parametrize(
    ("kind", "ready_path"),
    [("venturi", READY_PATH), *((kind, ray_llm.READY_PATH) for kind in ray_llm.EXPERIMENTS)],
)
def test_what_is_started_on_ray(kind: str, ready_path: str, tmp_path: Path) -> None:
    """Venturi, or the rival on the pool's engine; its replica is started once, also if it fails."""
    plan = read(of_kind(kind, tmp_path))
    (one,) = plan.servers
    run = served.Run(plan, tmp_path / "out.json", 1.0)
    system = run._system(one, plan.serve(one, tmp_path), tmp_path)
    assert isinstance(system, OnRay)
    assert system.ready_path == ready_path
    assert system.ray_serve_settings["RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT"] == "1"
    (application,) = yaml.safe_load(system.file.path.read_text())["applications"]
    assert application["name"] == kind


def test_a_rival_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is started."""

    def missing() -> None:
        raise StartError("it needs `pip install pyarrow`")

    monkeypatch.setattr(ray_llm, "require", missing)
    path = of_kind("ray-llm", tmp_path)
    assert served.main([str(path), "--out", str(tmp_path / "out.json")]) == 2
    assert "served: it needs `pip install pyarrow`" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
