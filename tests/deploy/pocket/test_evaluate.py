"""Does an evaluation ask everything once at its temperatures, and report it?"""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.pocket import ask, evaluate
from deploy.pocket.ask import Asked
from deploy.pocket.evaluate import SERVE_FILE, Measured, main, measure, serve_tree
from deploy.pocket.families.example import Example
from deploy.pocket.questions import questions
from deploy.pocket.score import Answer, Drafting


class ScriptedSystem:
    """Answers each sum rightly at effort high and with 0 at none; drafts 10 tokens' worth a high answer."""

    def __init__(self, asked: list[Example], *, restarts: bool = False) -> None:
        self.contents = {json.dumps(example.request["messages"]): example.content for example in asked}
        self.restarts = restarts
        self.num_high = 0
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "pocket"}]})
        if request.url.path == "/metrics":
            return httpx.Response(200, text=self._metrics())
        body = json.loads(request.content)
        self.bodies.append(body)
        is_high = body.get("reasoning_effort") == "high"
        self.num_high += is_high
        content = self.contents[json.dumps(body["messages"])] if is_high else "0"
        choice = {"message": {"content": content}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice], "usage": {"completion_tokens": 4}})

    def _metrics(self) -> str:
        num = max(0, 3 - self.num_high) if self.restarts else self.num_high
        rows = {"drafts": 10 * num, "accepted_tokens": 15 * num}
        return "".join(
            f"# TYPE vllm:spec_decode_num_{name} counter\nvllm:spec_decode_num_{name}_total {value}\n"
            for name, value in rows.items()
        )


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> list[Example]:
    """Three expressions at both efforts, and no waiting for counters."""
    monkeypatch.setattr(ask, "SETTLE_PERIOD_S", 0.0)
    return questions(1, 3, ["arithmetic.three_step"])


def serve(monkeypatch: pytest.MonkeyPatch, system: ScriptedSystem) -> None:
    """Let every client talk to `system`."""
    real = httpx.AsyncClient

    def make(**settings: Any) -> httpx.AsyncClient:
        return real(transport=httpx.MockTransport(system), **settings)

    monkeypatch.setattr(httpx, "AsyncClient", make)


async def test_high_is_asked_at_both_temperatures(
    monkeypatch: pytest.MonkeyPatch, sums: list[Example]
) -> None:
    """Everything is asked at 0, effort high once more at 0.7, and drafts are counted for each."""
    serve(monkeypatch, system := ScriptedSystem(sums))
    measured = await measure("http://venturi", sums)
    told = [(body["reasoning_effort"], body["temperature"]) for body in system.bodies]
    assert told == [("none", 0.0)] * 3 + [("high", 0.0)] * 3 + [("high", 0.7)] * 3
    assert [one.answer.is_right for one in measured.asked[0.0]] == [False] * 3 + [True] * 3
    assert measured.drafting == {0.0: Drafting(30, 45), 0.7: Drafting(30, 45)}
    assert measured.lengths == {0.0: 2.5, 0.7: 2.5}


async def test_an_engine_that_broke_down_has_no_length(
    monkeypatch: pytest.MonkeyPatch, sums: list[Example], capsys: pytest.CaptureFixture[str]
) -> None:
    """The answers count all the same, and it is said why the length is missing."""
    serve(monkeypatch, ScriptedSystem(sums, restarts=True))
    measured = await measure("http://venturi", sums)
    assert len(measured.asked[0.0]) == 6
    assert 0.0 not in measured.drafting
    assert "no acceptance length at temperature 0: an engine began anew" in capsys.readouterr().err


def test_a_run_by_url_reports_and_writes(
    monkeypatch: pytest.MonkeyPatch, sums: list[Example], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tables are printed, and the file has the same figures and the wrong answers."""
    serve(monkeypatch, ScriptedSystem(sums))
    file = tmp_path / "figures.json"
    chosen = ["--families", "arithmetic.three_step", "--count", "3", "--json", str(file)]
    assert main(["--url", "http://venturi", *chosen]) == 0
    printed = capsys.readouterr()
    assert "| high above none " in printed.out
    assert "effort high, temperature 0.7: 3 questions" in printed.err
    figures = json.loads(file.read_text())
    by_what = {goal["what"]: goal for goal in figures["goals"]}
    assert by_what["high above none"]["value"] == 100
    assert by_what["three-step arithmetic at high"]["total"] == 3
    assert figures["drafting"]["temperature 0"]["length"] == 2.5
    assert [wrong["content"] for wrong in figures["wrong"]] == ["0"] * 3
    assert (figures["seed"], figures["count"]) == (1, 3)
    assert figures["subset"].startswith("6 held-out questions of 1 of 25 families, 3 behind each goal")


def test_errors_are_reported() -> None:
    """What a server refused stands beside the tables and among the figures."""
    failed = Answer("world", "none", is_right=False, has_ended=False, error="500: no")
    example = Example("world", {"messages": [{"role": "user", "content": "?"}]}, "6")
    measured = Measured({0.0: [Asked(example, failed, None)], 0.7: []})
    assert "Errors:\n1 x 500: no" in measured.report()
    assert measured.figures()["errors"] == ["1 x 500: no"]


def test_nothing_at_the_url_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """No table is printed for a system that is not there."""
    assert main(["--url", "http://127.0.0.1:9", "--families", "world", "--count", "1"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "ConnectError" in printed.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--url", "http://venturi", "--target", "there"], "--url has its own"),
        (["--target", "nowhere"], "nowhere: has no consolidated.safetensors"),
        (["--count", "0"], "--count must be at least 1, not 0"),
        (["--families", "arithmetics"], "invalid choice: 'arithmetics'"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything starts, with the value that is wrong."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_other_checkpoints_take_their_places(tmp_path: Path) -> None:
    """Only paths and port differ from the file that is served otherwise."""
    changed = serve_tree(tmp_path / "target", tmp_path / "eagle")
    settings = changed["applications"][0]["args"]
    assert settings["model"]["path"] == str(tmp_path / "target")
    assert settings["pools"]["latency"]["speculation"]["draft"] == str(tmp_path / "eagle")
    plain = yaml.safe_load(SERVE_FILE.read_text())
    assert "speculation" not in settings["pools"]["throughput"]
    settings["model"]["path"] = plain["applications"][0]["args"]["model"]["path"]
    spec = plain["applications"][0]["args"]["pools"]["latency"]["speculation"]
    settings["pools"]["latency"]["speculation"] = spec
    changed["http_options"]["port"] = plain["http_options"]["port"]
    assert changed == plain


def test_the_weights_are_named_by_their_hash(tmp_path: Path) -> None:
    """Both checkpoints' SHA-256 and the versions of what computes are told."""
    for name in ("target", "eagle"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "consolidated.safetensors").write_bytes(b"abc")
    origin = evaluate.origin(serve_tree(tmp_path / "target", tmp_path / "eagle"))
    # SHA-256 of "abc", FIPS 180-2, appendix B.1.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert origin["checkpoints"] == {"target": abc, "draft": abc}
    assert origin["versions"]["ray"]
