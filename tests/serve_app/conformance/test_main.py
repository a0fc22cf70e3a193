"""The command line: exit status, and where each line goes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from serve_app.config import PROJECT_ROOT
from serve_app.conformance.__main__ import main
from tests.serve_app.conformance.scripted import Scripted

ONLY = ["--only", "chat none plain"]


def test_a_server_that_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table on stdout, a line a cell on stderr, the rows in a file, status 0."""
    path = tmp_path / "rows.json"
    assert main(["http://scripted/v1/", *ONLY, "--json", str(path)], Scripted()) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:5] for line in out.splitlines()[1:3]] == [
        ["chat", "none", "whole", "plain", "ok"],
        ["chat", "none", "stream", "plain", "ok"],
    ]
    assert out.endswith("\n2 ok, 0 WRONG, 0 FAILED, 0 skipped\n")
    assert [line.rpartition(",")[0] for line in err.splitlines()] == [
        "1/2 chat none whole plain: ok",
        "2/2 chat none stream plain: ok",
    ]
    told = json.loads(path.read_text())
    assert (told["url"], told["model"], told["structure_only"]) == ("http://scripted", "scripted", False)
    assert told["counts"] == {"ok": 2, "WRONG": 0, "FAILED": 0, "skipped": 0}
    assert [cell["how"] for cell in told["cells"]] == ["whole", "stream"]


def test_a_model_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1; with `--structure-only` it does not matter."""
    wrong = Scripted(say=lambda answer, _: replace(answer, text="41"))
    assert main(["http://scripted", *ONLY], wrong) == 1
    assert "WRONG" in capsys.readouterr().out
    assert main(["http://scripted", *ONLY, "--structure-only"], wrong) == 0


def test_a_server_that_fails() -> None:
    """Status 1."""
    assert main(["http://scripted", *ONLY, "--structure-only"], Scripted(says_done=False)) == 1


def test_the_options_are_heeded() -> None:
    """Model, key, tokens; and the card says how long a prompt is too long."""
    scripted = Scripted(card={"id": "scripted", "max_model_len": 25_000})
    options = ["--model", "scripted", "--max-tokens", "99", "--only", "responses"]
    assert main(["http://scripted", *options], scripted) == 0
    bodies = [body for path, body in scripted.asked if path == "/v1/responses" and "input" in body]
    assert {body["max_output_tokens"] for body in bodies} == {99}
    assert max(len(str(body["input"]).split()) for body in bodies) >= 25_001
    assert main(["http://scripted", *ONLY, "--model", "other"], Scripted()) == 1


@pytest.mark.parametrize("options", [[], ["--model", "scripted"]])
def test_a_server_that_is_not_there(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 and the reason."""

    def instead(request: httpx.Request) -> None:
        raise httpx.ConnectError("refused")

    assert main(["http://scripted", *options], Scripted(instead=instead)) == 2
    assert capsys.readouterr() == ("", "http://scripted: ConnectError: refused\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["127.0.0.1:8000"], "Request URL"),
        (
            ["http://scripted", "--only", "chat nothing"],
            "--only 'chat nothing': no cell has all of these words",
        ),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and what is wrong with the command line."""
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_as_a_program() -> None:
    """`python -m serve_app.conformance` hands the status to the shell; nothing listens on that port."""
    command = [sys.executable, "-m", "serve_app.conformance", "http://127.0.0.1:9"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("http://127.0.0.1:9: ConnectError: ")
