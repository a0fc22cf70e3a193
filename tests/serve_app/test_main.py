"""The command line: exit status, and where each line goes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve_app.__main__ import main
from serve_app.config import PROJECT_ROOT
from serve_app.errors import StartError
from serve_app.ingress import auth
from serve_app.metrics import documented
from serve_app.serve_file import ServeFile
from tests.serve_app.samples import args

LOCAL = PROJECT_ROOT / "deploy/local.yaml"


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    """A valid file is reported on stdout, with status 0."""
    assert main(["check", str(LOCAL)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{LOCAL}: valid\n")
    assert err == ""


def test_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a row for each metric."""
    assert main(["metrics"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [metric.name for metric in documented()]


def test_check_of_a_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong file gives status 2, and one line on stderr for each problem."""
    wrong = args({"model.nmae": "x", "pools.latency": {"efforts": ["high"], "plan": {"tp": 0}}})
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build", "args": wrong}]}))
    assert main(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "model.nmae: unknown key; did you mean 'name'?",
        "pools.latency.plan: tp=0 must be a whole number of at least 1",
    ]


def test_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A request's way is explained on stdout, as text or JSON; a body that cannot be read gives status 2."""
    request = tmp_path / "request.json"
    request.write_text('{"messages": [{"role": "user", "content": "hi"}]}')
    assert main(["explain", str(LOCAL), str(request)]) == 0
    assert capsys.readouterr().out.endswith("decision  throughput, throughput-1: effort\n")
    assert main(["explain", str(LOCAL), str(request), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"]["pool"] == "throughput"
    assert main(["explain", str(LOCAL), str(tmp_path / "missing.json")]) == 2
    assert "missing.json: No such file" in capsys.readouterr().err


def test_check_of_a_plan_that_cannot_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose settings are valid but whose model does not fit is wrong as well."""
    wrong = args(
        {
            "model.path": "/models/not-here",
            "model.weight_format": "fp8",
            "pools.latency": {"efforts": ["high"], "gpu": "H100"},
        }
    )
    path = tmp_path / "wrong.yaml"
    application = {"import_path": "serve_app.app:build", "args": wrong}
    path.write_text(yaml.safe_dump({"http_options": {"host": "127.0.0.1"}, "applications": [application]}))
    assert main(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pools.latency: a GPU needs 115.6 GiB before any context (112.1 GiB of weights)")


@pytest.mark.parametrize("command", ["check", "up"])
def test_a_file_that_lets_nobody_in(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The network is listened to, and there are no keys: that is a mistake, said before anything starts."""
    path = tmp_path / "closed.yaml"
    application = {"import_path": "serve_app.app:build", "args": args()}
    path.write_text(yaml.safe_dump({"applications": [application]}))
    assert main([command, str(path)]) == 2
    assert capsys.readouterr() == (
        "",
        "ingress.auth: no keys_file or keys_env, and http_options.host='0.0.0.0' is not loopback: "
        "every request would be refused; 'open: true' lets everyone in\n",
    )


def test_up_that_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A valid file that does not come up gives status 1 and the reason."""
    asked: list[Path] = []

    def up(file: ServeFile) -> None:
        asked.append(file.path)
        raise StartError("dashboard port 8265 is taken")

    monkeypatch.setattr("serve_app.up.up", up)
    assert main(["up", str(LOCAL)]) == 1
    assert capsys.readouterr() == ("", "dashboard port 8265 is taken\n")
    assert asked == [LOCAL]


def test_a_new_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A key is printed once, with a line for the keys file that has its hash and lets it in."""
    assert main(["key", "--tenant", "search"]) == 0
    out, err = capsys.readouterr()
    (key,) = (line for line in out.splitlines() if line.startswith("vk-"))
    (entry,) = (line for line in out.splitlines() if line.startswith("- "))
    assert (out.count(key), err) == (1, "")
    tenants = auth.parse(f"tenants:\n{entry}\n", "keys.yaml")
    holder = auth.Keyring(tenants).holder(key.encode())
    assert holder is not None
    assert holder.name == "search"


def test_a_key_for_a_name_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    """A tenant's name that the keys file would refuse is refused here."""
    assert main(["key", "--tenant", "A B"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "--tenant: name: String should match pattern '^[a-z][a-z0-9-]{0,40}$', not 'A B'\n"


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the usage is shown."""
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "usage: python -m serve_app" in capsys.readouterr().err


def test_as_a_program(tmp_path: Path) -> None:
    """`python -m serve_app` hands the status to the shell."""
    command = [sys.executable, "-m", "serve_app", "check", str(tmp_path / "no.yaml")]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path / 'no.yaml'}: No such file or directory\n"
