"""How fast are servers over HTTP, one after the other on the same machine, under the same loads?

    python -m tests.bench.served tests/bench/plans/h200.yaml --out served.json [--only NAME ...]
    python -m tests.bench.served --show served.json

`plan.py` says what a plan is. The file is written after every load; what it has is not measured again, so a
plan may take several calls, on one machine. A server that does not start is written down, and the next one's
turn comes.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from parallel.machine import clocks, command_line, machine
from parallel.results_file import write_json
from serve_app.errors import StartError
from serve_app.local import RAY_SERVE_SETTINGS, free_port
from serve_app.serve_file import ServeFile
from tests.bench import ray_llm
from tests.bench.arrivals import EFFORTS, Effort
from tests.bench.local import stop_on_sigterm
from tests.bench.mixed import Load, drive
from tests.bench.outcomes import Aim, Outcome, summary
from tests.bench.plan import AnyLoad, Loop, Plan, Server, Stream, load_of, read
from tests.bench.systems import OnRay, RawServer, System

ONE_TRY = {"RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1"}
"""Ray Serve starts a replica that fails three times; of an engine that asks too much, the first says why."""
START_S = 420.0
"""What a cold start may take, others starting beside it."""
WARM_UP: dict[str, Any] = {"concurrency": 64, "requests": 128, "answer_tokens": 32, "limit_s": 60.0}


class Run:
    """A plan, the file of its results, and the time that is left."""

    def __init__(self, plan: Plan, results: Path, budget_s: float) -> None:
        self._plan, self._path = plan, results
        self._began_s = time.monotonic()
        self._ends_s = self._began_s + budget_s
        self.found: dict[str, Any] = {"machine": machine(), "servers": {}}
        if results.exists():
            self.found = json.loads(results.read_text())

    def measure(self, server: Server) -> None:
        """Start a server, ask it what has not been asked yet, and stop it."""
        record = self.found["servers"].setdefault(server.name, {"kind": server.kind, "loads": []})
        todo = [load for load in server.loads if not any(_is_of(row, load) for row in record["loads"])]
        if not todo:
            return
        with tempfile.TemporaryDirectory(prefix="venturi-served-") as folder:
            file = self._plan.serve(server, self._path.resolve().parent)
            record["settings"] = yaml.safe_load(file.path.read_text())["applications"][0]["args"]
            system = self._system(server, file, Path(folder))
            try:
                began_s = time.monotonic()
                system.start()
                record["start_s"] = round(time.monotonic() - began_s, 1)
                record.pop("error", None)  # of an earlier call
                self._say(f"{server.name}: up after {record['start_s']} s")
                self._loads(server, todo, system, file.settings.model.name, record)
            except (StartError, TimeoutError) as error:
                record["error"] = str(error)
                self._say(f"{server.name}: {str(error)[-6000:]}")
            finally:
                system.stop()
                write_json(self._path, self.found)

    def _loads(
        self, server: Server, todo: Sequence[AnyLoad], system: System, model: str, record: dict[str, Any]
    ) -> None:
        first = todo[0]
        ids = first.tokens if isinstance(first, Loop) else None
        for effort in EFFORTS if len(server.pools) > 1 else EFFORTS[:1]:
            _asked(
                Loop(prompt_tokens=first.prompt_tokens, tokens=ids, effort=effort, **WARM_UP),
                system.url,
                model,
            )
        for load in todo:
            if time.monotonic() > self._ends_s:
                raise TimeoutError(f"out of time before {load}")
            before = system.usage()
            outcomes = _asked(load, system.url, model)
            used_s, _ = system.usage().since(before)
            found = summary(outcomes, {})
            if isinstance(load, Stream):
                found["good"] = {name: _good(outcomes, aims) for name, aims in load.aims.items()}
            whole = max(1, found["requests"] - found["failed"])
            row = {
                "load": asdict(load),
                "found": found,
                "cpu_ms_a_request": {group: 1e3 * seconds / whole for group, seconds in used_s.items()},
                "clocks": clocks(),
            }
            record["loads"].append(row)
            write_json(self._path, self.found)
            self._say(" | ".join((server.name, *cells(row))))

    def _system(self, server: Server, file: ServeFile, folder: Path) -> System:
        def say(what: str) -> None:
            self._say(f"{server.name}: {what.strip()}")

        if server.kind == "venturi":
            return OnRay(file, free_port(), say, RAY_SERVE_SETTINGS | ONE_TRY, START_S)
        (pool,) = server.pools
        if server.kind in ray_llm.EXPERIMENTS:
            theirs = ray_llm.serve_file(file, pool, server.kind, folder)
            settings = ray_llm.serve_settings(file, pool) | ONE_TRY
            return OnRay(theirs, free_port(), say, settings, START_S, ray_llm.READY_PATH)
        return RawServer(file, pool, free_port(), folder / "log", server.kind == "shipped", START_S)

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began_s:6.1f} s  {what}", flush=True)


def _is_of(row: Mapping[str, Any], load: AnyLoad) -> bool:
    return asdict(load_of(row["load"])) == asdict(load)


def _asked(load: AnyLoad, url: str, model: str) -> list[Outcome]:
    mix = load.mix
    if isinstance(load, Stream):
        arrivals = tuple(mix.poisson(load.rate_per_s, load.duration_s))
        return drive(Load(url, model, mix, arrivals, None, timeout_s=load.limit_s), load.processes)
    arrivals = tuple(mix.at_once(load.requests))
    return drive(Load(url, model, mix, arrivals, load.concurrency, limit_s=load.limit_s), load.processes)


def _good(outcomes: Sequence[Outcome], aims: Mapping[Effort, Sequence[float]]) -> dict[str, float]:
    """Share of all requests, and of each effort, that kept to the aims."""
    found = summary(outcomes, {effort: Aim(*given) for effort, given in aims.items()})
    return {"all": found["good_share"]} | {
        effort: part["good_share"] for effort, part in found["efforts"].items()
    }


def table(found: Mapping[str, Any]) -> str:
    """Return a Markdown table, a row a load: tokens a second of all, of a user, and ms to the first token.

    Where requests come on their own, a user is one at high, and the shares that kept to the aims follow.
    """
    servers = found["servers"]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for name, server in servers.items():
        for row in server["loads"]:
            asked_for, clients, *figures = cells(row)
            rows.setdefault((asked_for, clients), {})[name] = " / ".join(figures)
    lines = [f"| asked for | clients | {' | '.join(servers)} |", f"|---|---:|{'---:|' * len(servers)}"]
    lines += [
        f"| {' | '.join((*asked, *(shown.get(name, '') for name in servers)))} |"
        for asked, shown in sorted(rows.items(), key=lambda one: (one[0][0], int(one[0][1])))
    ]
    return "\n".join(lines)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a load asked for, its clients, and its figures in the order of `table`."""
    load, found = load_of(row["load"]), row["found"]
    if isinstance(load, Stream):
        high = found["efforts"]["high"]
        asked = (
            f"{load.rate_per_s:g}/s, {load.high:.0%} high, {load.prompt_tokens} in",
            f"{found['requests']}",
        )
    else:
        high = found
        what = "tokens" if load.tokens else "chat"
        asked = f"{what}, {load.prompt_tokens} in, {load.answer_tokens} out", str(load.concurrency)
    first, token = found["first_token_s"], high["per_token_s"]
    good = (" ".join(f"{name} {one['all']:.0%}" for name, one in found.get("good", {}).items()),)
    return (
        *asked,
        f"{found['output_tokens_per_s']:.0f}",
        f"{1 / token['p50']:.1f}" if token and token["p50"] else "-",
        f"{1e3 * first['p50']:.0f}" if first else "-",
        *(good if good[0] else ()),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 0 if every load of every server has been asked, 1 if not, 2 for a plan that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.served", description=__doc__)
    parser.add_argument("plan", type=Path, nargs="?")
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--budget-s", type=float, default=3600, help="no server is started later (default 3600)"
    )
    parser.add_argument("--only", nargs="+", help="these servers")
    parser.add_argument(
        "--show", type=Path, metavar="RESULTS", help="print the table of a file, measure nothing"
    )
    given = parser.parse_args(argv)
    if given.show:
        print(table(json.loads(given.show.read_text())))
        return 0
    if not given.plan or not given.out:
        parser.error("a plan and --out are needed, or --show")
    try:
        plan = read(given.plan)
        servers = [one for one in plan.servers if not given.only or one.name in given.only]
        if any(one.kind in ray_llm.EXPERIMENTS for one in servers):
            ray_llm.require()
    except (ValueError, StartError) as error:
        print(f"served: {error}", file=sys.stderr)
        return 2
    run = Run(plan, given.out, given.budget_s)
    run.found.setdefault("commands", []).append(command_line("tests.bench.served", argv))
    for server in servers:
        run.measure(server)
    print(table(run.found))
    records = run.found["servers"]
    return int(any(len(records[one.name]["loads"]) < len(one.loads) for one in servers))


if __name__ == "__main__":
    stop_on_sigterm()
    sys.exit(main())
