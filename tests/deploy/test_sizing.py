"""The sizing table of deploy/README.md is what the planner says today."""

import json
import shlex

import pytest

from parallel.__main__ import main
from serve_app.config import PROJECT_ROOT

README = PROJECT_ROOT / "deploy" / "README.md"

ROWS = [
    ("2xH100", "fp8"),
    ("2xH100", "bf16"),
    ("2xH200", "fp8"),
    ("1xH200", "nvfp4"),
    ("4xA100-80", "fp8"),
    ("4xA100-80", "bf16"),
    ("4xA100-40", "fp8"),
    ("1xB200", "fp8"),
    ("1xB200", "nvfp4"),
]
"""The published sizes, with the formats that people try on them."""


def plan(gpus: str, precision: str, pool: str) -> list[str]:
    """The command of one cell."""
    return shlex.split(f"plan --gpus {gpus} --precision {precision} --context 262144 --pool {pool}")


@pytest.mark.parametrize(("gpus", "precision"), ROWS)
def test_a_row_is_what_the_command_says(
    gpus: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verdict and reason of both pools stand in the README; the message has the line to paste."""
    text = README.read_text()
    for pool in ("latency", "throughput"):
        main([*plan(gpus, precision, pool), "--json"])
        said = json.loads(capsys.readouterr().out)
        verdict = said["verdict"].partition(": ")[2]
        row = f"| {gpus} | {precision} | {pool} | {verdict} | {said['reason']} |"
        assert row in text.splitlines(), f"deploy/README.md lacks the line\n{row}"


def test_the_whole_answer_is_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The example in the README is complete and current."""
    main(plan("2xH200", "fp8", "latency"))
    printed = capsys.readouterr().out
    assert f"```text\n{printed}```" in README.read_text()
    verdict, reason, *_ = printed.splitlines()
    assert f"    {verdict}\n    {reason}\n" in (PROJECT_ROOT / "README.md").read_text()
