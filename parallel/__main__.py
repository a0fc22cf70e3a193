"""The commands of `python -m parallel`: each says with --help what it needs."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Literal, get_args

from parallel import draft_table, place_table, program, recording
from parallel.bench import command as bench
from parallel.bench import compare, profile, verified, verify
from parallel.cost import Engine
from parallel.hardware import gpu
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape
from parallel.plan import ParallelPlan
from parallel.planner import answer
from parallel.question import Cluster, Objective, Question
from parallel.speed import Load, Speculation
from parallel.verdict import json_values, text

Pool = Literal["latency", "throughput"]

REQUESTS_PER_GPU: dict[Pool, int] = {"latency": 8, "throughput": 256}
"""What a pool is predicted for unless --concurrency says otherwise."""

FORMATS = [one.value for one in WeightFormat if one is not WeightFormat.FLOAT32]


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0, 1 if nothing fits or some runs failed, 2 for a wrong option or file."""
    options = _parser().parse_args(argv)
    try:
        status: int = options.run(options)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2
    return status


def _plan(options: argparse.Namespace) -> int:
    found = answer(_question(options))
    print(json.dumps(json_values(found), indent=1) if options.json else text(found, options.pool))
    return 0 if found.best else 1


def _speculate(options: argparse.Namespace) -> int:
    cluster = _cluster(options.gpus if "x" in options.gpus else f"1x{options.gpus}", 1)
    plan = ParallelPlan(tp=cluster.gpus_per_node, ep=cluster.gpus_per_node > 1)
    engine = Engine(cluster.gpu, _shape(options.model), WeightFormat(options.precision), plan)
    table = draft_table.draft_table(
        engine, options.acceptance, max_sequences=options.sequences, context_tokens=options.context
    )
    print(json.dumps(table) if options.json else draft_table.text(engine, options.acceptance, table))
    return 0


def _shares(given: str) -> list[float]:
    return [float(share) for share in given.split(",")]


def _collectives(options: argparse.Namespace) -> int:
    from parallel import bandwidth  # torch, which no plan needs, takes seconds to import

    link = gpu(options.gpu).link if options.gpu else None
    print(bandwidth.table(bandwidth.measure(options.ranks, options.tokens), options.ranks, link))
    return 0


def _compare(options: argparse.Namespace) -> int:
    for file in options.results:
        results = json.loads(file.read_text())
        try:
            print(compare.table(results) if "cases" in results else verified.table(results))
        except (KeyError, TypeError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise ValueError(f"{file}: not what bench or verify writes ({what})") from None
    return 0


def _place(options: argparse.Namespace) -> int:
    if options.ranks is not None and options.ranks < 1:
        raise ValueError(f"--ranks={options.ranks} must be at least 1")
    windows = recording.read(options.recording, options.ranks)
    found = place_table.placed(windows, options.redundant, options.nodes)
    values = place_table.json_values(windows, found) if options.json else None
    print(json.dumps(values) if values else place_table.text(windows, found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m parallel")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, add_options, what in (
        (
            "plan",
            _plan,
            _add_plan,
            "the best layout (tp, dp, ep, replicas) for given GPUs, its memory and speed",
        ),
        ("speculate", _speculate, _add_speculate, "what each number of draft tokens is worth by batch"),
        ("bench", bench.main, bench.add_options, "how fast layouts are on the GPUs at hand"),
        ("profile", profile.main, profile.add_options, "which kernels a step spends its time in"),
        ("verify", verify.main, verify.add_options, "how long steps take by the drafts that they verify"),
        (
            "compare",
            _compare,
            _add_compare,
            "what the cost model says beside what `bench` or `verify` has measured",
        ),
        ("place", _place, _add_place, "how a recorded load of experts is spread, and how it would be best"),
        (
            "collectives",
            _collectives,
            _add_collectives,
            "how near this machine's collectives come to its link",
        ),
    ):
        command = commands.add_parser(name, help=what, description=f"Print {what}.")
        command.set_defaults(run=run)
        add_options(command)
    return parser


def _add_plan(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("--gpus", required=True, help="of each node, as 2xH200")
    plan.add_argument("--nodes", type=int, default=1, help="machines with so many GPUs each (default 1)")
    plan.add_argument("--precision", required=True, choices=FORMATS, help="of the weights")
    plan.add_argument("--context", type=int, required=True, help="tokens of the longest request")
    plan.add_argument("--pool", required=True, choices=get_args(Pool), help="latency speculates (EAGLE)")
    plan.add_argument(
        "--objective",
        choices=get_args(Objective),
        help="tokens a second of all, or of a user, or GPU-seconds a token, since prices are not known "
        "(default: the pool's own)",
    )
    plan.add_argument("--model", type=Path, help="folder with params.json (default: Mistral Small 4)")
    plan.add_argument("--concurrency", type=int, help="requests at once (default: 8 or 256 a GPU, by pool)")
    plan.add_argument("--prompt", type=int, default=1024, help="tokens of each prompt (default 1024)")
    plan.add_argument("--answer", type=int, default=512, help="tokens of each answer (default 512)")
    plan.add_argument("--draft-tokens", type=int, help="0 for no draft head (default: 3 for latency, else 0)")
    plan.add_argument(
        "--acceptance", type=float, default=2.6, help="tokens a verify step is assumed to yield (default 2.6)"
    )
    plan.add_argument(
        "--correlation",
        type=float,
        default=0.0,
        help="of routing within a batch, 0 to 1, measured (default 0)",
    )
    plan.add_argument("--memory-utilization", type=float, default=0.92, help="vLLM's share (default 0.92)")
    plan.add_argument("--json", action="store_true", help="print values instead of text")


def _add_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument("results", type=Path, nargs="+", help="files that `bench` wrote")


def _add_place(place: argparse.ArgumentParser) -> None:
    place.epilog, place.formatter_class = recording.FORMATS, argparse.RawDescriptionHelpFormatter
    place.add_argument("recording", type=Path, help="counts of chosen experts: .jsonl, .npy or .npz")
    place.add_argument(
        "--ranks", type=int, help="place for so many, from experts in order (default: the recording's)"
    )
    place.add_argument("--redundant", type=int, default=0, help="slots beyond one an expert (default 0)")
    place.add_argument("--nodes", type=int, default=1, help="that the ranks are on (default 1)")
    place.add_argument("--json", action="store_true", help="print values, the new slots among them")


def _add_collectives(collectives: argparse.ArgumentParser) -> None:
    collectives.add_argument("--ranks", type=int, default=2, help="default 2")
    collectives.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        default=[1, 32, 512, 8192],
        help="of each rank (default 1 32 512 8192)",
    )
    collectives.add_argument("--gpu", help="as H200: whose link's peak to print beside")


def _add_speculate(speculate: argparse.ArgumentParser) -> None:
    speculate.add_argument("--gpus", required=True, help="of one engine, as H200, or 2xH200 for tp 2 with ep")
    speculate.add_argument(
        "--acceptance",
        required=True,
        type=_shares,
        help="shares of drafts accepted up to each position, as 0.8,0.6,0.5",
    )
    speculate.add_argument("--precision", default="fp8", choices=FORMATS, help="of the weights (default fp8)")
    speculate.add_argument("--model", type=Path, help="folder with params.json (default: Mistral Small 4)")
    speculate.add_argument("--context", type=int, default=2048, help="mean tokens of context (default 2048)")
    speculate.add_argument("--sequences", type=int, default=512, help="the largest batch (default 512)")
    speculate.add_argument("--json", action="store_true", help="print values instead of text")


def _question(options: argparse.Namespace) -> Question:
    cluster = _cluster(options.gpus, options.nodes)
    pool: Pool = options.pool
    concurrency = options.concurrency
    if concurrency is None:
        concurrency = REQUESTS_PER_GPU[pool] * cluster.gpus_per_node * cluster.nodes
    draft_tokens = options.draft_tokens
    if draft_tokens is None:
        draft_tokens = 3 if pool == "latency" else 0
    return Question(
        cluster=cluster,
        weight_format=WeightFormat(options.precision),
        context_tokens=options.context,
        objective=options.objective or pool,
        load=Load(concurrency, options.prompt, options.answer),
        speculation=Speculation(draft_tokens, options.acceptance) if draft_tokens else None,
        shape=_shape(options.model),
        correlation=options.correlation,
        memory_utilization=options.memory_utilization,
    )


def _cluster(gpus: str, nodes: int) -> Cluster:
    """The cluster in `--gpus 2xH200 --nodes 1`; ValueError for another form or an unknown name."""
    form = re.fullmatch(r"(\d+)x(.+)", gpus)
    if not form:
        raise ValueError(f"--gpus={gpus!r} must be a number, an x and a name, as 2xH200")
    return Cluster(gpu(form[2]), int(form[1]), nodes)


def _shape(model: Path | None) -> ModelShape:
    """The shape of the checkpoint at --model; ValueError where it has none that can be read."""
    if model is None:
        return MISTRAL_SMALL_4
    try:
        return ModelShape.read(model)
    except (OSError, ValueError) as error:
        raise ValueError(f"--model={model}: {error}") from None


if __name__ == "__main__":
    program.run(main)
