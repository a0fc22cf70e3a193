"""Does the whole local system keep every request under strain, and what do the others see of it?

    python -m tests.bench.strain [--phase-s 30] [--low 1 --high 6 --steady 2 --flood 96]

Starts deploy/local.yaml once, with keys for two tenants, and has them ask while

    wave         requests of both efforts come in a square wave
    standstill   the latency pool's engine is stopped for 2 s (SIGSTOP)
    drain        the latency pool is drained, and taken back
    quiet        one tenant asks now and then: what the next two are measured by
    flood        another tenant's clients ask for more than there are places
    held flood   the same, with `concurrent_requests` for that tenant

Prints a table and writes a JSON file into `results/`. Every request has to end in an answer, an error of
OpenAI's shape, or an error event; if one does not, or something is held when all is over, the status is 1.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.bench.arrivals import Arrival, Kind, Mix
from tests.bench.local import circumstances, local_tree, redeploy, say, stop_on_sigterm, system_of, write
from tests.bench.mixed import Load, run
from tests.bench.outcomes import Outcome, summary
from tests.e2e.keyed import Keyed
from tests.e2e.metrics import total, wait_until
from tests.e2e.replicas import replica_of

SEED = 1
STRAINED = "latency"
"""The pool that stands still and is drained: its work can go to the other one."""
STANDSTILL_S = 2.0
WARM_UP_S = 5.0
HELD_TO = 4
MEASURED, FLOODING = "quiet", "flood"
NEW_KEYS_S = 2.0
"""A new keys file counts within a second."""
KINDS = (Kind("none", 0.7, 64, 32), Kind("high", 0.3, 64, 48))
FLOOD_KINDS = (Kind("none", 1.0, 64, 64),)
FLOOD_REQUESTS = 100_000
"""More than a phase can bring."""


@dataclass(frozen=True)
class Rates:
    """Requests a second, and clients of the flood."""

    low: float
    high: float
    steady: float
    flood: int


@dataclass
class Phase:
    """One strain: what was asked beside it, what became of that, and when what was done."""

    name: str
    outcomes: list[Outcome] = field(default_factory=list)
    flood: list[Outcome] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    num_held: float = 0.0
    """Leases and waiting requests that were left when it was over; counted at the very end."""

    @property
    def num_lost(self) -> int:
        """Requests that nobody answered; the flood's clients are stopped by us when the phase is over."""
        return sum(one.is_lost for one in self.outcomes) + sum(one.end == "lost" for one in self.flood)

    def record(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        record: dict[str, Any] = {"events": self.events, "ends": _ends(self.outcomes), "lost": self.num_lost}
        if self.flood:
            record["flood"] = {"ends": _ends(self.flood), "found": summary(self.flood, {})}
        return record | {"found": summary(self.outcomes, {})}


def _ends(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return dict(Counter(one.end for one in outcomes))


@dataclass
class Strain:
    """The system, and what it is to stand."""

    parts: Keyed
    tree: dict[str, Any]
    """Its serve file."""
    rates: Rates
    phase_s: float

    def phases(self) -> Iterator[Phase]:
        """Play all phases."""
        system, phase_s, rates = self.parts.system, self.phase_s, self.rates
        with httpx.Client(
            base_url=system.file.url, timeout=60, headers={"authorization": f"Bearer vk-{MEASURED}"}
        ) as http:
            self._phase("warm-up", Mix(KINDS, SEED + 3).poisson(rates.steady, WARM_UP_S))
            mix = Mix(KINDS, SEED)
            yield self._phase("wave", mix.square(rates.low, rates.high, phase_s, 2 * phase_s))
            steady = mix.poisson(rates.steady, phase_s)
            yield self._phase("standstill", steady, self._stand_still)
            yield self._phase("drain", steady, lambda say: self._drain(http, say))
            quiet = Mix(KINDS, SEED + 1).poisson(rates.steady / 2, phase_s)
            yield self._phase("quiet", quiet)
            yield self._phase("flood", quiet, num_flooding=rates.flood)
            self.tenants(held=True)
            yield self._phase("held flood", quiet, num_flooding=rates.flood)
            yield self._at_rest(http)

    def _phase(
        self,
        name: str,
        arrivals: Sequence[Arrival],
        act: Callable[[Callable[[str], None]], None] = lambda _: None,
        num_flooding: int = 0,
    ) -> Phase:
        """Let the arrivals come while `act` does what it does, and tells of it."""
        phase, began_s = Phase(name), time.monotonic()

        def say(what: str) -> None:
            phase.events.append(f"{time.monotonic() - began_s:.1f} s: {what}")

        url, model = self.parts.system.file.url, self.parts.system.file.settings.model.name
        load = Load(url, model, Mix(KINDS, SEED), tuple(arrivals), None, key=f"vk-{MEASURED}")
        flood_mix = Mix(FLOOD_KINDS, SEED + 2)
        flood = Load(
            url,
            model,
            flood_mix,
            tuple(flood_mix.at_once(FLOOD_REQUESTS if num_flooding else 0)),
            max(1, num_flooding),
            limit_s=self.phase_s,
            key=f"vk-{FLOODING}",
        )
        with ThreadPoolExecutor(2) as clients:
            flooding, asked = clients.submit(run, flood), clients.submit(run, load)
            act(say)
            phase.outcomes, phase.flood = asked.result(), flooding.result()
        return phase

    def _stand_still(self, say: Callable[[str], None]) -> None:
        engine = replica_of(self.parts.system, STRAINED).children(recursive=True)
        time.sleep(self.phase_s / 3)
        try:
            for process in engine:
                process.suspend()
            say(f"{len(engine)} processes of pool {STRAINED} stopped")
            time.sleep(STANDSTILL_S)
        finally:
            for process in engine:
                process.resume()
            say("and going on")

    def _drain(self, http: httpx.Client, say: Callable[[str], None]) -> None:
        for is_draining in (True, False):
            time.sleep(self.phase_s / 3)
            tree = deepcopy(self.tree)
            changed = {"name": STRAINED, "user_config": {"draining": is_draining}}
            tree["applications"][0]["deployments"] = [changed]
            redeploy(self.parts.system, tree)
            took_s = wait_until(lambda wanted=is_draining: self._drains(http) is wanted, 60)  # type: ignore[misc]
            say(f"pool {STRAINED} {'drains' if is_draining else 'is back'}, {took_s:.1f} s after it was told")

    @staticmethod
    def _drains(http: httpx.Client) -> bool:
        pools = http.get("/venturi/pools").raise_for_status().json()["data"]
        return any(one["is_draining"] for pool in pools for one in pool["replicas"])

    def tenants(self, held: bool) -> None:
        """Let there be both tenants, the flooding one `held` to HELD_TO requests at once."""
        tenants: dict[str, dict[str, object]] = {
            MEASURED: {"operator": True},
            FLOODING: {"concurrent_requests": HELD_TO} if held else {},
        }
        self.parts.holders(**tenants)
        time.sleep(NEW_KEYS_S)

    def _at_rest(self, http: httpx.Client) -> Phase:
        """Ask once more, and say what is still held when nobody asks."""
        last = self._phase("at rest", Mix(KINDS, SEED).poisson(1.0, 5.0))
        held = {name: total(http, name) for name in ("venturi_leases", "venturi_queue_depth")}
        last.events.append(", ".join(f"{name} {number:g}" for name, number in held.items()))
        last.num_held = sum(held.values())
        return last


@contextmanager
def strained(rates: Rates, phase_s: float) -> Iterator[Strain]:
    """Start deploy/local.yaml on a port of its own, with keys."""
    tree = local_tree()
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys.yaml"
        tree["applications"][0]["args"]["ingress"]["auth"] = {"keys_file": str(keys)}
        with system_of(tree, Path(folder)) as system:
            strain = Strain(Keyed(system, keys), tree, rates, phase_s)
            strain.tenants(held=False)
            system.start()
            yield strain


def table(phases: Sequence[Phase]) -> str:
    """Return a Markdown table, with times to the first token by effort, and the events below it."""
    lines = [
        "| strain | requests | answered | refused | broken off | lost | none p50 / p99 | high | pools |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for phase in phases:
        ends, found = Counter(one.end for one in phase.outcomes), summary(phase.outcomes, {})
        cells = [phase.name, *(str(number) for number in (len(phase.outcomes), ends["answered"]))]
        cells += [str(number) for number in (ends["refused"], ends["broken off"], phase.num_lost)]
        cells += [_first_token(found["efforts"].get(effort)) for effort in ("none", "high")]
        cells.append(", ".join(f"{went} {number}" for went, number in sorted(found["pools"].items())))
        lines.append(f"| {' | '.join(cells)} |")
    for phase in phases:
        lines += [f"{phase.name}: {event}" for event in phase.events]
        if phase.flood:
            lines.append(f"{phase.name}: of the flood's requests {_ends(phase.flood)}")
    return "\n".join(lines)


def _first_token(found: dict[str, Any] | None) -> str:
    times_s = found and found["first_token_s"]
    return f"{times_s['p50'] * 1e3:.0f} / {times_s['p99'] * 1e3:.0f} ms" if times_s else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the file; return 1 if a request was lost."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--phase-s", type=float, default=30.0, help="of each phase; two for the wave")
    options.add_argument("--low", type=float, default=1.0, help="requests a second between waves")
    options.add_argument("--high", type=float, default=6.0, help="and in them")
    options.add_argument("--steady", type=float, default=2.0, help="in the phases without a wave")
    options.add_argument("--flood", type=int, default=96, help="clients; there are 64 places for them")
    options.add_argument("--out", type=Path, help="instead of a file in results/")
    given = options.parse_args(argv)
    stop_on_sigterm()
    rates = Rates(given.low, given.high, given.steady, given.flood)
    record, phases = circumstances("tests.bench.strain", argv), []
    with strained(rates, given.phase_s) as strain:
        for phase in strain.phases():
            phases.append(phase)
            say(f"{phase.name}: {_ends(phase.outcomes)}")
    print(table(phases))
    figures = {"rates": asdict(rates), "phases": {phase.name: phase.record() for phase in phases}}
    write("strain", record | {"seed": SEED} | figures, given.out)
    return int(any(phase.num_lost or phase.num_held for phase in phases))


if __name__ == "__main__":
    sys.exit(main())
