"""What does a routing decision cost?

    python -m tests.bench.decision [--replicas N] [--decisions N]

Needs no engine. Two pools of N / 2 replicas each, every field of every report filled in; requests of 2000
tokens with 30 prefix blocks, a third of them in sessions that come back. Between two decisions a request is
leased, as in an ingress replica, so what is timed is the pools' snapshots and the decision. `home`: all stay
at home; `both`: home misses its targets, so that both pools are predicted. Times are processor
times of the thread, garbage collection included.
"""

import argparse
import gc
import json
import os
import time
from dataclasses import asdict, dataclass
from random import Random

from parallel.cost import Engine
from parallel.hardware import H200
from parallel.machine import command_line
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speed import Speculation
from parallel.step_table import StepTable, tabulate
from serve_app.engine.scripted import OK, ScriptedBackend
from serve_app.pools.pool import Pool
from serve_app.router.policy import Policy
from serve_app.rules import Rules, Targets
from serve_app.types import Block, Call, Effort, PoolSnapshot, ReplicaReport, RequestFeatures
from tests.bench.load import percentile
from tests.bench.local import RESULTS
from tests.bench.overhead import circumstances

CALL = Call("POST", "/v1/chat/completions")
GOAL_US = 200.0
"""What the 99th percentile should stay below at 64 replicas."""
LEASES_A_REPORT = 500
"""Decisions between two reports of all replicas."""


@dataclass(frozen=True)
class Row:
    """Microseconds a decision."""

    case: str
    num_replicas: int
    p50_us: float
    p99_us: float
    worst_us: float


def main() -> None:
    """Print the table and write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--replicas", type=int, nargs="+", default=[2, 16, 64, 256])
    options.add_argument("--decisions", type=int, default=20_000)
    given = options.parse_args()
    import asyncio

    rows = [
        asyncio.run(measured(case, num_replicas, given.decisions))
        for num_replicas in given.replicas
        for case in ("home", "both")
    ]
    facts = circumstances(seed=1)
    facts["load_average"] = os.getloadavg()[0]
    facts["command"] = command_line("tests.bench.decision")
    path = RESULTS / f"decision-{facts['date']}.json"
    path.write_text(json.dumps(facts | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    print("| case | replicas | p50 (us) | p99 (us) | worst (us) |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row.case} | {row.num_replicas} | {row.p50_us:.0f} | {row.p99_us:.0f} | {row.worst_us:.0f} |"
        )
    print(f"written to {path}; the goal is a p99 below {GOAL_US:.0f} us at 64 replicas")


async def measured(case: str, num_replicas: int, num_decisions: int) -> Row:
    """Time decisions one by one."""
    rng = Random(1)
    targets = {"home": Targets(ttft_s=1e9), "both": Targets(ttft_s=1e-9)}[case]
    rules = Rules(max_age_s=float("inf"), targets=dict.fromkeys(Effort, targets))
    policy = Policy(rules, tables(), Random(1))
    pools = [pool("throughput", Effort.NONE, num_replicas // 2, rng)]
    pools.append(pool("latency", Effort.HIGH, num_replicas - num_replicas // 2, rng))
    by_name = {p.name: p for p in pools}
    requests = [request(number, rng) for number in range(1000)]
    took_us = []
    gc.collect()
    for number in range(num_decisions):
        if number % LEASES_A_REPORT == 0:
            for p in pools:
                await p.refresh()
        wanted = requests[number % len(requests)]
        began_ns = time.thread_time_ns()
        snapshots = [p.snapshot() for p in pools]
        decision = policy.decide(wanted, snapshots, 0.0)
        took_us.append((time.thread_time_ns() - began_ns) / 1e3)
        by_name[decision.pool].acquire(decision.replica, CALL, wanted.prompt_tokens).release()
    return Row(
        case,
        num_replicas,
        round(percentile(took_us, 50), 1),
        round(percentile(took_us, 99), 1),
        round(max(took_us), 1),
    )


def tables() -> dict[str, StepTable]:
    """Return the cost model's tables of two pools of one H200 a replica."""
    engine = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
    head = Speculation().head_for(MISTRAL_SMALL_4)
    return {"throughput": tabulate(engine, 512), "latency": tabulate(engine, 128, head, 3)}


class Reports(ScriptedBackend):
    """Replicas that fill in every field, and keep no record of their calls."""

    def __init__(self, given: list[ReplicaReport]) -> None:
        super().__init__({report.replica: OK for report in given})
        self._given = given

    async def reports(self, num_queued: int) -> list[ReplicaReport]:
        """Report every replica."""
        return list(self._given)


def pool(name: str, effort: Effort, num_replicas: int, rng: Random) -> Pool:
    """Return a pool of busy replicas."""
    speculates = effort is Effort.HIGH
    places = 128 if speculates else 512
    given = [
        ReplicaReport(
            f"{name}#{number:04}",
            num_ongoing=rng.randrange(places),
            num_running=rng.randrange(places),
            kv_usage=rng.random(),
            prefill_tokens=rng.randrange(20_000),
            batch_size=rng.uniform(1, places),
            ttft_s=rng.uniform(0.1, 2),
            per_token_s=rng.uniform(0.01, 0.04),
            prefill_s=rng.uniform(0.1, 0.4),
            prefill_mean_tokens=rng.uniform(500, 4000),
            answer_tokens=rng.uniform(100, 1000),
            acceptance=(0.8, 0.6, 0.4) if speculates else (),
            draft_tokens=3 if speculates else 0,
        )
        for number in range(num_replicas)
    ]
    traits = PoolSnapshot(name, frozenset({effort}), (), speculates, places, 262_144)
    return Pool(traits, Reports(given), lambda: 0.0)


def request(number: int, rng: Random) -> RequestFeatures:
    """Return a request; the first ten of its blocks are those of one of eight system prompts."""
    system = rng.randrange(8)
    blocks = tuple(Block(hash((system if i < 10 else number, i)), 67 * (i + 1)) for i in range(30))
    return RequestFeatures(
        rng.choice(list(Effort)),
        prompt_tokens=2000,
        max_tokens=500,
        blocks=blocks,
        session=f"s{number}" if number % 3 == 0 else None,
    )


if __name__ == "__main__":
    main()
