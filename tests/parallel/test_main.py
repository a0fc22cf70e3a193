"""`python -m parallel plan`: options, exit status, and mistakes in one line."""

import json
from pathlib import Path

import pytest

from parallel.__main__ import main

GIVEN = ["plan", "--gpus", "2xH200", "--precision", "fp8", "--context", "262144", "--pool", "latency"]
SMALL_4 = str(Path(__file__).parent / "small_4")


def test_plan_prints_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """The published shape is the default, and that of a checkpoint is the same."""
    assert main(GIVEN) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("fp8 on 2xH200 with a context of 262144: ")
    assert main([*GIVEN, "--model", SMALL_4]) == 0
    assert capsys.readouterr().out == printed


def test_plan_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The objective is the pool's own unless one is given."""
    assert main([*GIVEN, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objective"] == "latency"
    assert main([*GIVEN, "--json", "--objective", "cost", "--draft-tokens", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["objective"] == "cost"


def test_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """That is an answer, with a status of its own."""
    assert main([*GIVEN, "--gpus", "1xL40S"]) == 1
    assert "does not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--gpus", "H200"], "plan: --gpus='H200' must be a number, an x and a name, as 2xH200"),
        (["--gpus", "2xH2"], "plan: no GPU named 'H2'; known: A100-40, A100-80, "),
        (["--gpus", "0xH200"], "plan: gpus_per_node=0 must be at least 1"),
        (["--nodes", "0"], "plan: nodes=0 must be at least 1"),
        (["--context", "1000"], "plan: context=1000 is less than prompt+answer=1024+512=1536"),
        (["--acceptance", "9"], "plan: acceptance_length=9 must be from 1 to draft_tokens+1=4"),
        (["--draft-tokens", "-1"], "plan: draft_tokens=-1 must be at least 1"),
        (["--concurrency", "0"], "plan: concurrency=0 must be more than 0"),
        (["--model", "/nowhere"], "plan: --model=/nowhere: [Errno 2] No such file"),
    ],
)
def test_mistakes_are_one_line(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Option or field, what it is, and what it may be."""
    assert main([*GIVEN, *options]) == 2
    assert capsys.readouterr().err.startswith(line)


def test_a_checkpoint_of_another_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong in its params.json is one line too."""
    (tmp_path / "params.json").write_text("[]")
    assert main([*GIVEN, "--model", str(tmp_path)]) == 2
    line = f"plan: --model={tmp_path}: params.json must be an object, not []\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("options", [["--precision", "int4"], ["--pool", "fast"], ["--context", "long"]])
def test_unknown_choices_end_with_status_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The parser's own errors name the option."""
    with pytest.raises(SystemExit) as caught:
        main([*GIVEN, *options])
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


SPECULATE = ["speculate", "--gpus", "H200", "--acceptance", "0.8,0.6,0.5"]


def test_speculate(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each batch, or the values."""
    assert main([*SPECULATE, "--sequences", "8"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3 + 4
    assert main([*SPECULATE, "--gpus", "2xH100", "--sequences", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row[0] == 1
    assert len(row) == 4


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--gpus", "H2"], "speculate: no GPU named 'H2'; known: "),
        (["--acceptance", "0.1,0.2"], "speculate: acceptance=0.1,0.2 must not rise"),
        (["--context", "0"], "speculate: context_tokens=0 must be at least 1"),
        (["--sequences", "0"], "speculate: max_sequences=0 must be at least 1"),
    ],
)
def test_mistakes_of_speculate_are_one_line(
    options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Option or field, what it is, and what it may be."""
    assert main([*SPECULATE, *options]) == 2
    assert capsys.readouterr().err.startswith(line)


def test_place_prints_load_and_placement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording, for the ranks asked for, as text and as values."""
    recording = tmp_path / "load.jsonl"
    recording.write_text('{"counts": [[9, 9, 1, 1]], "effort": "none"}\n')
    assert main(["place", str(recording), "--ranks", "2"]) == 0
    assert "| none | 20 | 45.0% | 0.556 | 0.556 |" in capsys.readouterr().out
    assert main(["place", str(recording), "--ranks", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["placed"]["balancedness"] == [1.0]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--ranks", "0"], "place: --ranks=0 must be at least 1"),
        (["--ranks", "3"], "load.jsonl, line 1: slots of shape (1, 4) cannot be divided over ranks=3"),
        (["--redundant", "1", "--ranks", "2"], "place: 4 experts and redundant=1 cannot be divided over"),
    ],
)
def test_a_placement_that_cannot_be(
    options: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Option and numbers in one line."""
    recording = tmp_path / "load.jsonl"
    recording.write_text('{"counts": [[9, 9, 1, 1]]}\n')
    assert main(["place", str(recording), *options]) == 2
    assert line in capsys.readouterr().err


def test_the_help_says_what_a_recording_is(capsys: pytest.CaptureFixture[str]) -> None:
    """So that nobody has to look for the format elsewhere."""
    with pytest.raises(SystemExit):
        main(["place", "--help"])
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("/venturi/experts", "counts", ".npz", "slots"))
