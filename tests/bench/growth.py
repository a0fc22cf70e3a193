"""Does a pool of the local system follow its load, and is a request lost on the way?

    python -m tests.bench.growth [--low 2 --high 6]

Starts deploy/local.yaml with one pool for both efforts, which has 4 places a replica and by its targets one
replica or two, and then

    follows   `--low` clients ask one request after the other, one in ten with a long answer; then `--high`,
              until two replicas have served for a while; and again `--low`, until one replica is left
    sleeps    with `min_replicas: 0` nobody asks until there is no replica; then one does until it is answered

Prints a table and writes a JSON file into `results/`. The status is 1 if a request ended in neither an answer
nor an error of OpenAI's shape, or if the pool did not grow, shrink, sleep and wake.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from serve_app.local import LocalSystem
from tests.bench.arrivals import Kind, Mix
from tests.bench.course import Course, table
from tests.bench.local import circumstances, local_tree, redeploy, say, stop_on_sigterm, system_of, write
from tests.bench.mixed import Load, run
from tests.bench.outcomes import Outcome, error_of
from tests.e2e.metrics import wait_until

SEED = 1
POOL = "throughput"
PLACES = 4
AUTOSCALING = {"min_replicas": 1, "max_replicas": 2, "upscale_delay_s": 5, "downscale_delay_s": 10}
KINDS = (Kind("none", 0.9, 64, 32), Kind("high", 0.1, 64, 320))
TARGETS = {"none": {"ttft_s": 5.0}, "high": {"ttft_s": 5.0}}
"""What a busy machine can keep too."""
MOST_REQUESTS = 2_000
"""Of a client: more than it comes to ask."""
LOOK_PERIOD_S = 0.25
ALONE_S = 15.0
"""How long one replica has a low load at first."""
BOTH_S = 20.0
"""How long both have a high one."""
PATIENCE_S = 300.0
"""With a replica that starts, leaves, falls asleep or wakes."""
QUESTION = {"messages": [{"role": "user", "content": "What is 2 + 3?"}], "max_tokens": 16}


@dataclass
class Watch:
    """Which replicas the router knows, and since when; `began_s` by time.time."""

    replicas: Callable[[], Sequence[str]]
    began_s: float
    changes: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    """Seconds since the beginning, and who is there from then on."""

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return max(0.0, time.time() - self.began_s)

    def look(self) -> None:
        """Take down what has changed."""
        with suppress(httpx.HTTPError):
            there = frozenset(self.replicas())
            if not self.changes or self.changes[-1][1] != there:
                self.changes.append((self.now_s, there))
                say(f"{self.now_s:.1f} s: replicas {len(there)}")

    def look_until(self, seen: Callable[[], bool]) -> None:
        """Look again and again, for PATIENCE_S at most."""
        until_s = self.now_s + PATIENCE_S
        while not seen() and self.now_s < until_s:
            self.look()
            time.sleep(LOOK_PERIOD_S)

    def has_seen(self, num_replicas: int, for_s: float = 0.0) -> bool:
        """Whether there are so many, and have been for so long."""
        since_s, there = self.changes[-1]
        return len(there) == num_replicas and self.now_s - since_s >= for_s


@dataclass(frozen=True)
class Sleep:
    """How a pool went to sleep, and woke."""

    asleep_after_s: float
    """After it was allowed to."""
    ready_asleep: int
    """What /ready said then."""
    refused: tuple[tuple[int, str | None], ...]
    """What the request was told until it was answered: status, and code if it came in OpenAI's shape."""
    answered_after_s: float

    @property
    def num_lost(self) -> int:
        """Refusals without a code."""
        return sum(code is None for _, code in self.refused)


@dataclass
class Growth:
    """The running system, its serve file, and how it is asked."""

    system: LocalSystem
    tree: dict[str, Any]
    http: httpx.Client
    clients: ThreadPoolExecutor

    def replicas(self) -> list[str]:
        """Return the replicas that the ingress knows now; raises httpx.HTTPError."""
        (pool,) = self.http.get("/venturi/pools").raise_for_status().json()["data"]
        return [one["replica"] for one in pool["replicas"]]

    def follow(self, low: int, high: int) -> Course:
        """Have `low` clients ask, `high`, and again `low`."""
        watch = Watch(self.replicas, time.time())
        watch.look()
        phases = [(0.0, low)]
        with self._asking(range(low), watch) as few:
            watch.look_until(lambda: watch.now_s >= ALONE_S)
            phases.append((watch.now_s, high))
            with self._asking(range(low, high), watch) as more:
                watch.look_until(lambda: watch.has_seen(2, BOTH_S))
            phases.append((watch.now_s, low))
            watch.look_until(lambda: watch.has_seen(1))
        outcomes = [one for asked in (*few, *more) for one in asked.result()]
        return Course(tuple(phases), tuple(watch.changes), tuple(outcomes))

    @contextmanager
    def _asking(self, numbers: Iterable[int], watch: Watch) -> Iterator[list[Future[list[Outcome]]]]:
        """Have the clients of these numbers ask until this is left."""
        over = threading.Event()
        try:
            yield [self.clients.submit(self._client, number, watch, over) for number in numbers]
        finally:
            over.set()

    def _client(self, number: int, watch: Watch, over: threading.Event) -> list[Outcome]:
        """Ask one request after the other until it is over."""
        mix, outcomes = Mix(KINDS, SEED + number), []
        url, model = self.system.file.url, self.system.file.settings.model.name
        for arrival in mix.at_once(MOST_REQUESTS):
            if over.is_set():
                break
            at_s = watch.now_s
            outcomes += [one.later(at_s) for one in run(Load(url, model, mix, (arrival,), None))]
        return outcomes

    def sleep(self) -> Sleep:
        """Let the pool sleep, then ask it until it answers."""
        tree = deepcopy(self.tree)
        pool = tree["applications"][0]["args"]["pools"][POOL]
        pool["autoscaling"] = AUTOSCALING | {"min_replicas": 0}
        redeploy(self.system, tree)
        asleep_after_s = wait_until(self._sleeps, PATIENCE_S)
        say(f"asleep after {asleep_after_s:.1f} s")
        ready_asleep = self.http.get("/ready").status_code
        asked_s, refused = time.monotonic(), []
        while (answer := self.http.post("/v1/chat/completions", json=QUESTION)).status_code != 200:
            refused.append((answer.status_code, error_of(answer.content)[1]))
            if time.monotonic() - asked_s > PATIENCE_S:
                raise TimeoutError(f"the pool did not wake within {PATIENCE_S:.0f} s: {refused[-1]}")
            time.sleep(float(answer.headers.get("retry-after", 1)))
        return Sleep(asleep_after_s, ready_asleep, tuple(refused), time.monotonic() - asked_s)

    def _sleeps(self) -> bool:
        with suppress(httpx.HTTPError):
            return not self.replicas()
        return False  # the ingress replica is being replaced


@contextmanager
def growing() -> Iterator[Growth]:
    """Start deploy/local.yaml with one pool that grows."""
    tree = local_tree()
    pools = tree["applications"][0]["args"]["pools"]
    pool = pools[POOL] | {"efforts": ["none", "high"], "autoscaling": AUTOSCALING}
    pool["engine"] = pool["engine"] | {"max_num_seqs": PLACES}
    tree["applications"][0]["args"]["pools"] = {POOL: pool}
    tree["applications"][0]["args"]["router"] = {"targets": TARGETS}
    with (
        # Its clients end when the system does, if they are not waited for.
        ThreadPoolExecutor(64) as clients,
        tempfile.TemporaryDirectory() as folder,
        system_of(tree, Path(folder)) as system,
    ):
        system.start()
        with httpx.Client(base_url=system.file.url, timeout=60) as http:
            yield Growth(system, tree, http, clients)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the file; return 1 if a request was lost or the pool did not follow."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--low", type=int, default=2, help="clients at first and at last")
    options.add_argument("--high", type=int, default=6, help="clients between")
    options.add_argument("--out", type=Path, help="instead of a file in results/")
    given = options.parse_args(argv)
    stop_on_sigterm()
    record = circumstances("tests.bench.growth", argv)
    with growing() as growth:
        course = growth.follow(given.low, given.high)
        print(table(course))
        slept = growth.sleep()
    print(
        f"asleep {slept.asleep_after_s:.1f} s after it might be, /ready {slept.ready_asleep}; then a request"
    )
    print(f"was refused {dict(Counter(slept.refused))} and answered after {slept.answered_after_s:.1f} s")
    figures = {
        "autoscaling": AUTOSCALING,
        "targets": TARGETS,
        "places": PLACES,
        "kinds": [asdict(kind) for kind in KINDS],
    }
    record |= {"seed": SEED} | figures | {"follow": course.record(), "sleep": asdict(slept)}
    write("growth", record, given.out)
    return int(bool(course.num_lost or slept.num_lost) or course.numbers != [1, 2, 1])


if __name__ == "__main__":
    sys.exit(main())
