"""How are engines started one after the other, watched, and their figures kept?

Each case is a process group of its own (as many as it has replicas), with a share of the time that is left.
One that fails or hangs is ended with all its children, and written down; the next one starts. `results` is
written after every case, and a case that it already has is not run again.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from parallel.bench.case import Case, share, with_extra
from parallel.bench.engine import Spec
from parallel.bench.streams import Figures, together
from parallel.engine_log import last_words
from parallel.machine import clocks, command_line, machine
from parallel.results_file import read_lines, write_json

ROOT = Path(__file__).resolve().parent.parent.parent
GROUP = "vllm.general_plugins"
BALANCED_AFTER_TOKENS = 800
"""With vLLM's defaults experts are placed by their load for the first time after 750 steps."""
POLL_S = 1.0
SAMPLE_S = 5.0
_NOTEWORTHY = re.compile("KV cache size|loading took|MoE|attention backend|Graph capturing|compil|WARNING")
MARGIN_S = 10.0
"""What ending an engine may take."""


@dataclass(frozen=True)
class Workload:
    """What every case is asked."""

    levels: tuple[int, ...] = (1, 8, 32, 128, 512)
    prompt_tokens: int = 512
    answer_tokens: int = 256
    repeats: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Target:
    """Which checkpoint, and how it is started."""

    model: str
    draft: str | None
    dummy: bool
    params: Mapping[str, Any]
    """Its params.json."""
    extra: Mapping[str, Any]
    """Engine arguments on top."""
    environment: Mapping[str, str]
    words: tuple[str, ...] = ()
    """What sets it apart from the plain full-size model, for the results."""

    def key(self, case: Case) -> str:
        """A case on this target, in words."""
        return ", ".join((case.key, *self.words))


def run(
    cases: Sequence[Case], target: Target, work: Workload, results: Path, budget_s: float
) -> dict[str, Any]:
    """Run what `results` lacks of the cases, within the budget; return all that it then holds.

    A case that lacks a row of one number of requests is run anew.
    """
    end = time.monotonic() + budget_s
    found = json.loads(results.read_text()) if results.exists() else {"cases": {}}
    found |= {"machine": machine(), "workload": asdict(work), "command": command_line("parallel")}
    todo = [case for case in cases if not has_rows(found["cases"].get(target.key(case), {}), work.levels)]
    for place, case in enumerate(todo):
        left = end - time.monotonic()
        key = target.key(case)
        print(f"{key}: {left:.0f} s left for {len(todo) - place} cases", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="venturi-bench-") as folder:
            found["cases"][key] = _one(case, target, work, Path(folder), left / (len(todo) - place))
        write_json(results, found)
        print(table({key: found["cases"][key]}), flush=True)
    return dict(found)


def has_rows(record: Mapping[str, Any], levels: Sequence[int]) -> bool:
    """Whether a case's record has a row of each number of requests."""
    return set(levels) <= {row["requests"] for row in record.get("rows", ())}


def _one(case: Case, target: Target, work: Workload, folder: Path, seconds: float) -> dict[str, Any]:
    cuda = bool(machine()["gpus"])
    arguments = case.arguments(model=target.model, draft=target.draft, dummy=target.dummy, cuda=cuda)
    warm_tokens = BALANCED_AFTER_TOKENS if case.redundant_experts else 64
    arguments |= {
        "max_model_len": work.prompt_tokens + max(work.answer_tokens, warm_tokens) + 64,
        "max_num_seqs": max(share(level, 0, case.replicas) for level in work.levels),
        "seed": work.seed,
    }
    arguments = with_extra(arguments, target.extra)
    environment = case.environment(cuda=cuda) | dict(target.environment)
    record: dict[str, Any] = {
        "case": case.values(),
        "arguments": arguments,
        "environment": environment,
        "params": target.params,
        "workload": {"prompt_tokens": work.prompt_tokens, "answer_tokens": work.answer_tokens},
    }
    began, ends = time.monotonic(), time.monotonic() + seconds
    with _plugin_on_path(folder) as path:
        parts = []
        for part in range(case.replicas):
            spec = Spec(
                arguments=arguments,
                levels=[share(level, part, case.replicas) for level in work.levels],
                prompt_tokens=work.prompt_tokens,
                answer_tokens=work.answer_tokens,
                warm_tokens=warm_tokens,
                repeats=work.repeats,
                seed=work.seed,
                vocab=target.params["vocab_size"],
                ends_at=time.time() + seconds - MARGIN_S,
                gate=str(folder),
                part=part,
                parts=case.replicas,
            )
            own = {"CUDA_VISIBLE_DEVICES": devices(case, part)} if cuda and case.replicas > 1 else {}
            parts.append(_start(spec, folder, os.environ | environment | path | own))
        samples = _watch(parts, ends - MARGIN_S / 2, folder / "0.log")
    lines = [read_lines(folder / f"{part}.jsonl") for part in range(case.replicas)]
    errors = [line["error"] for part in lines for line in part if line["event"] == "failed"]
    rows = list(_rows(lines, work.levels))
    if len(rows) < len(work.levels) and not errors:
        errors = ["out of time, or ended without a word"]
    started = [line["seconds"] for part in lines for line in part if line["event"] == "started"]
    return record | {
        "rows": rows,
        "errors": errors,
        "start_s": max(started, default=None),
        "kv_blocks": [line["kv_blocks"] for part in lines for line in part if line["event"] == "started"],
        "seconds": round(time.monotonic() - began, 1),
        "clocks": samples,
        "log": [_log(folder / f"{part}.log", whole=bool(errors)) for part in range(case.replicas)],
    }


def devices(case: Case, part: int) -> str:
    """The GPUs of the replica number `part`, of those that this process may see; ValueError for too few."""
    ranks = case.plan.world_size
    needed = case.replicas * ranks
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(needed)]
    if needed > len(names):
        raise ValueError(f"{case.layout} needs {needed} GPUs, but CUDA_VISIBLE_DEVICES={visible}")
    return ",".join(names[part * ranks : (part + 1) * ranks])


def _start(spec: Spec, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    file = folder / f"{spec.part}.json"
    file.write_text(json.dumps(asdict(spec)))
    with (folder / f"{spec.part}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "parallel.bench.engine", str(file), str(folder / f"{spec.part}.jsonl")],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )


def _watch(parts: Sequence[subprocess.Popen[bytes]], ends: float, log: Path) -> list[Any]:
    """Wait for all to end, one to fail, or time to be up; end the rest. Return the clocks meanwhile.

    A terminal shows how much of the time is gone, and what the first one's `log` says.
    """
    samples: list[Any] = []
    began = sampled = time.monotonic()
    form = "{l_bar}{bar}| {n_fmt}/{total_fmt} s{postfix}"
    bar = tqdm(total=round(ends - began), bar_format=form, disable=None, leave=False)
    try:
        while any(part.poll() is None for part in parts) and time.monotonic() < ends:
            if any(part.poll() for part in parts):
                break
            if time.monotonic() - sampled > SAMPLE_S:
                sampled = time.monotonic()
                samples.append(clocks())
            if not bar.disable:
                bar.n = round(time.monotonic() - began)
                bar.set_postfix_str(last_words(log))
            time.sleep(POLL_S)
    finally:
        bar.close()
        for part in parts:
            _end(part)
    return samples


def _end(part: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: gently, then not."""
    for how, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if part.poll() is None or how == signal.SIGKILL:
            with suppress(ProcessLookupError):
                os.killpg(part.pid, how)
            with suppress(subprocess.TimeoutExpired):
                part.wait(seconds)


@contextmanager
def _plugin_on_path(folder: Path) -> Iterator[dict[str, str]]:
    """An environment in which vLLM finds this project, and its plugin even where it is not installed."""
    path = [str(ROOT)]
    if not entry_points(group=GROUP, name="venturi"):
        plugin = folder / "plugin" / "venturi-0.dist-info"
        plugin.mkdir(parents=True)
        (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: venturi\nVersion: 0\n")
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
        sections = (
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in groups.items()
        )
        (plugin / "entry_points.txt").write_text("\n".join(sections))
        path.append(str(plugin.parent))
    given = os.environ.get("PYTHONPATH")
    yield {"PYTHONPATH": os.pathsep.join([*path, *([given] if given else [])])}


def _rows(parts: Sequence[Sequence[dict[str, Any]]], levels: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each number of requests that all replicas have measured: means over repeats, and each."""
    for level, requests in enumerate(levels):
        repeats: dict[int, list[Figures]] = {}
        for part in parts:
            for line in part:
                if line["event"] == "measured" and line["level"] == level:
                    repeats.setdefault(line["repeat"], []).append(Figures(**line["figures"]))
        whole = [together(each) for each in repeats.values() if sum(one.requests for one in each) == requests]
        if whole:
            yield {
                "requests": requests,
                "user_tokens_per_s": fmean(one.user_tokens_per_s for one in whole),
                "total_tokens_per_s": fmean(one.total_tokens_per_s for one in whole),
                "step_ms": fmean(one.step_ms for one in whole),
                "tokens_a_step": fmean(one.tokens_a_step for one in whole),
                "first_token_s": fmean(one.first_token_s for one in whole),
                "repeats": [asdict(one) for one in whole],
            }


def _log(log: Path, *, whole: bool) -> str:
    """The end of an engine's log, or only what it says of memory, kernels and graphs."""
    text = log.read_text(errors="replace") if log.exists() else ""
    if not whole:
        text = "\n".join(line[:300] for line in text.splitlines() if _NOTEWORTHY.search(line))
    return text[-8000:]


def table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of all rows, and a line for each case that has an error."""
    lines = [
        "| case | requests | tok/s a user | step ms | tokens a step | tok/s in all | first token s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for key, case in cases.items():
        lines += [
            f"| {key} | {row['requests']} | {row['user_tokens_per_s']:.1f} | {row['step_ms']:.2f} "
            f"| {row['tokens_a_step']:.2f} | {row['total_tokens_per_s']:.0f} | {row['first_token_s']:.2f} |"
            for row in case["rows"]
        ]
    lines += [f"{key}: {error}" for key, case in cases.items() for error in case["errors"]]
    return "\n".join(lines)
