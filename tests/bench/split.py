"""Two pools, or the same GPUs as equal replicas: who has the greater goodput, at which mix and load?

    python -m tests.bench.split [--gpus N] [--duration SECONDS] [--out FOLDER]

Simulated: needs no GPU, and is as right as the cost model, which was fitted on H200 in FP8. For each share of
requests at high, load and target of high: equal replicas in three settings (plain; with EAGLE; with EAGLE and
small batches), and two pools in every division of the GPUs, the throughput pool plain or with EAGLE. Each is
shown at its best, with hindsight; `choose` is told the same goodputs. Writes a chart and JSON.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tqdm import tqdm

from parallel.cost import Engine
from parallel.hardware import H200
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.plan import ParallelPlan
from parallel.speed import Load, speed
from serve_app.simulator.cluster import simulate
from serve_app.simulator.division import choose
from serve_app.simulator.outcome import Summary, summarise
from serve_app.simulator.scenario import parse

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of requests at high."""
LEVELS = (0.1, 0.3, 0.6)
"""Output tokens a second asked for, over what as many plain replicas make at 512 requests each."""
PER_TOKEN_S = {"strict": 0.0125, "loose": 0.025}
"""Target of a token at high: 80 and 40 tokens a second."""
PROMPT_TOKENS, ANSWER_TOKENS = 1024, {"none": 256, "high": 1024}
SIGMA = 0.5

EAGLE: dict[str, Any] = {"speculation": {"acceptance": [0.75, 0.5, 0.35]}}
"""Acceptance length 2.6, that of the measured runs."""
PLAIN: dict[str, Any] = {"max_num_seqs": 512}
BIG = PLAIN | EAGLE
SMALL: dict[str, Any] = {"max_num_seqs": 16} | EAGLE


@dataclass(frozen=True)
class Point:
    """One place of the chart."""

    targets: str
    level: float
    share: float
    rate_per_s: float


def pools_by_name(num_gpus: int) -> dict[str, dict[str, Any]]:
    """Return what is compared; names that begin with `all ` are equal replicas."""
    both = ["none", "high"]
    settings = {"plain": PLAIN, "EAGLE": BIG, "EAGLE, 16 at once": SMALL}
    found: dict[str, dict[str, Any]] = {
        f"all {name}": {"mixed": setting | {"efforts": both, "replicas": num_gpus}}
        for name, setting in settings.items()
    }
    for name, setting in (("plain", PLAIN), ("EAGLE", BIG)):
        for num in range(1, num_gpus):
            found[f"{num_gpus - num} {name} + {num} latency"] = {
                "throughput": setting | {"efforts": ["none"], "replicas": num_gpus - num},
                "latency": SMALL | {"efforts": ["high"], "replicas": num},
            }
    return found


def points(num_gpus: int) -> list[Point]:
    """Return every place of the chart."""
    engine = Engine(H200, MISTRAL_SMALL_4, WeightFormat.FP8, ParallelPlan())
    found = []
    for targets in PER_TOKEN_S:
        for level in LEVELS:
            for share in SHARES:
                answer = (1 - share) * ANSWER_TOKENS["none"] + share * ANSWER_TOKENS["high"]
                most = speed(engine, Load(512, PROMPT_TOKENS, round(answer))).total_tokens_per_s
                found.append(Point(targets, level, share, level * num_gpus * most / answer))
    return found


def play(point: Point, pools: dict[str, Any], duration_s: float) -> Summary:
    """Simulate one cluster at one point."""
    high = {"ttft_s": 2, "per_token_s": PER_TOKEN_S[point.targets]}
    shares = {"none": 1 - point.share, "high": point.share}
    tree = {
        "seed": 1,
        "duration_s": duration_s,
        "warm_up_s": duration_s / 3,
        "arrivals": {"kind": "poisson", "rate_per_s": point.rate_per_s},
        "efforts": {
            effort: {
                "share": share,
                "prompt": {"median": PROMPT_TOKENS, "sigma": SIGMA},
                "answer": {"median": ANSWER_TOKENS[effort], "sigma": SIGMA},
            }
            for effort, share in shares.items()
        },
        "pools": pools,
        "router": {"targets": {"none": {"ttft_s": 5, "per_token_s": 0.05}, "high": high}},
    }
    return summarise(simulate(parse(tree)))


def best(goodputs: dict[str, float], *, split: bool) -> float:
    """Return the greatest goodput with or without a split."""
    return max(value for name, value in goodputs.items() if name.startswith("all ") is not split)


def chart(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw goodput over what was asked for, by mix: a panel for each load and target."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(len(PER_TOKEN_S), len(LEVELS), sharex=True, sharey=True)
    for row, targets in enumerate(PER_TOKEN_S):
        for column, level in enumerate(LEVELS):
            here = [one for one in rows if one["targets"] == targets and one["level"] == level]
            axis = axes[row][column]
            shares = [100 * one["share"] for one in here]
            for name in ("all plain", "all EAGLE", "all EAGLE, 16 at once"):
                axis.plot(
                    shares, [one["goodput_per_s"][name] / one["asked_per_s"] for one in here], label=name
                )
            two = [best(one["goodput_per_s"], split=True) / one["asked_per_s"] for one in here]
            axis.plot(shares, two, "k--", marker="o", label="two pools, best division")
            ms = 1e3 * PER_TOKEN_S[targets]
            axis.set(title=f"load {level:.0%}, high within {ms:g} ms a token", ylim=(0, 1.05))
    for axis in axes[-1]:
        axis.set(xlabel="% of requests at high")
    for line in axes:
        line[0].set(ylabel="goodput / requests")
    axes[0][0].legend(fontsize="small")
    figure.suptitle("Simulated, not measured")
    figure.savefig(path, metadata={"Date": None})


def table(rows: list[dict[str, Any]]) -> str:
    """Return both sides at their best, as Markdown."""
    lines = [
        "| high within | load | at high | equal replicas | two pools | ratio | to take |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        whole, split = (best(row["goodput_per_s"], split=flag) / row["asked_per_s"] for flag in (False, True))
        cells = (
            f"{1e3 * PER_TOKEN_S[row['targets']]:g} ms",
            *(f"{value:.0%}" for value in (row["level"], row["share"], whole, split)),
            f"{split / whole:.2f}" if whole else "-",
            row["chosen"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate everything, print the table, write the files."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--gpus", type=int, default=4)
    options.add_argument("--duration", type=float, default=90.0)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = options.parse_args()
    rows = []
    for point in tqdm(points(given.gpus), disable=None, file=sys.stderr):
        played = {
            name: play(point, pools, given.duration) for name, pools in pools_by_name(given.gpus).items()
        }
        goodputs = {name: one.goodput_per_s for name, one in played.items()}
        rows.append(
            vars(point)
            | {
                "asked_per_s": next(iter(played.values())).num_requests / (given.duration * 2 / 3),
                "goodput_per_s": goodputs,
                "chosen": choose(goodputs),
            }
        )
    print(table(rows))
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"split-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    about = {"simulated": True, "gpu": H200.name, "gpus": given.gpus, "duration_s": given.duration}
    path.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    chart(rows, path.with_suffix(".svg"))
    print(path)


if __name__ == "__main__":
    main()
