"""Timing steps by what they verify: on the real engine, without a GPU, and where nothing could be timed."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel.__main__ import main
from parallel.bench.stepped import Stepped
from parallel.bench.verify import table, timed
from parallel.speculation import Window

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_pocket_model(checkpoint: Path, tmp_path: Path) -> None:
    """Each number of drafts is verified by steps of its own, and none yields more than it verifies."""
    out = tmp_path / "verify.json"
    given = ["verify", "--model", str(checkpoint / "target"), "--layout", "tp1", "--draft-tokens", "2"]
    given += ["--concurrency", "1", "3", "--prompt", "32", "--engine", "enforce_eager=true"]
    given += ["--env", "VLLM_MLA_DISABLE=1", "VLLM_CPU_KVCACHE_SPACE=1", "--out", str(out)]
    ran = subprocess.run(
        [sys.executable, "-m", "parallel", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    rows = json.loads(out.read_text())["rows"]
    assert [(row["requests"], row["draft_tokens"]) for row in rows] == [
        (requests, k) for requests in (1, 3) for k in (0, 1, 2)
    ]
    for row in rows:
        assert 1 <= row["tokens_a_step"] <= row["draft_tokens"] + 1
        assert row["step_ms"] > 0
    assert any(row["tokens_a_step"] > 1 for row in rows)
    assert table(rows) in ran.stdout


def test_a_head_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one there is nothing to verify; no engine is started for it."""
    out = tmp_path / "verify.json"
    assert main(["verify", "--layout", "tp1", "--out", str(out)]) == 2
    assert "--draft-tokens=0 must be at least 1" in capsys.readouterr().err
    assert not out.exists()


class Scripted:
    """An engine whose steps were seen so."""

    def __init__(self, seen: Window) -> None:
        self.told: list[tuple[object, ...]] = []
        self.scheduler = SimpleNamespace(hold=lambda k: self.told.append(("hold", k)), seen=lambda: seen)

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.told.append((name, *given))


def test_steps_of_nothing_else_count() -> None:
    """Their median, and what they yielded; the requests are dropped before the next are added."""
    engine = Scripted(Window(2, 4.0, (40, 20), (20, 10), 0.008))
    assert timed(cast(Stepped, engine), 4, 512, 2) == {
        "requests": 4,
        "draft_tokens": 2,
        "passes": 2,
        "step_ms": 8.0,
        "tokens_a_step": 1.75,
    }
    assert [name for name, *_ in engine.told] == ["hold", "add", "read", "step", "drop"]


@pytest.mark.parametrize(
    "seen", [Window(2, 4.0, (40, 20), (20, 10), None), Window(2, 3.5, (40, 20), (20, 10), 0.008)]
)
def test_other_steps_are_refused(seen: Window) -> None:
    """Steps that also read prompts, or held fewer requests, are no figure for this batch."""
    with pytest.raises(ValueError, match="4 requests, 2 drafts: no steps of nothing else"):
        timed(cast(Stepped, Scripted(seen)), 4, 512, 2)
