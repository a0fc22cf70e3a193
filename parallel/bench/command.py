"""`python -m parallel bench`: which options has it, and what do they ask for?

python -m parallel bench --layout tp1 --out bench.json                    # full size, random weights, FP8
python -m parallel bench --layout tp2+ep --routing zipf --redundant-experts 0 16 --out bench.json
python -m parallel bench --layout tp1 --draft-tokens 0 1 3 5 --acceptance 2.0 --out bench.json
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from parallel.bench import dummy
from parallel.bench.case import EPLB_POLICIES, ROUTINGS, Case
from parallel.bench.driver import Target, Workload, has_rows, run
from parallel.engine_arguments import ENGINE_NAMES
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape

WEIGHTS = (WeightFormat.FP8.value, WeightFormat.BF16.value, WeightFormat.NVFP4.value)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command may be told."""
    add_engine_options(parser)
    parser.add_argument("--budget-s", type=float, default=400, help="seconds for all cases (default 400)")
    parser.add_argument("--answer", type=int, default=Workload.answer_tokens, help="tokens (default 256)")
    parser.add_argument("--repeats", type=int, default=Workload.repeats)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add what any command that starts engines may be told: which ones, and what prompts they get."""
    parser.add_argument(
        "--layout", nargs="+", required=True, help="tp1, tp2, tp2+ep, dp2+ep; 2xtp1 is two replicas"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="results (JSON); of bench, what it has is not run again"
    )
    parser.add_argument("--model", type=Path, help="a checkpoint (default: full size, without weights)")
    parser.add_argument("--draft", type=Path, help="its EAGLE head (default: beside --model, or none)")
    parser.add_argument("--layers", type=int, help="fewer than the model's 36, where it does not fit")
    parser.add_argument(
        "--weights", choices=WEIGHTS, default=WEIGHTS[0], help="format, without --model (default: fp8)"
    )
    parser.add_argument("--draft-tokens", type=int, nargs="+", default=[0], help="0 for no draft head")
    parser.add_argument("--acceptance", type=float, help="synthetic tokens a verify step (GPU only)")
    parser.add_argument("--routing", nargs="+", choices=ROUTINGS, default=["model"], help="(default: model)")
    parser.add_argument("--redundant-experts", type=int, nargs="+", default=[0], help="above 0: balanced")
    parser.add_argument("--eplb-policy", choices=EPLB_POLICIES, default="default")
    parser.add_argument("--concurrency", type=int, nargs="+", default=list(Workload.levels))
    parser.add_argument("--prompt", type=int, default=Workload.prompt_tokens, help="tokens (default 512)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernels", type=Path, help="folder of tuned kernel configurations")
    parser.add_argument(
        "--engine", nargs="*", default=[], metavar="NAME=JSON", help="engine arguments on top"
    )
    parser.add_argument(
        "--env", nargs="*", default=[], metavar="NAME=VALUE", help="of the engine's processes"
    )


def main(options: argparse.Namespace) -> int:
    """Run the cases; 0 if each has all its rows, 1 if one does not. ValueError for options that are none."""
    work = Workload(tuple(options.concurrency), options.prompt, options.answer, options.repeats, options.seed)
    for name, values in (("--concurrency", work.levels), ("--prompt", (work.prompt_tokens,))):
        if min(values) < 1:
            raise ValueError(f"{name}={min(values)} must be at least 1")
    if work.answer_tokens < 2:
        raise ValueError(f"--answer={work.answer_tokens} must be at least 2: the first token is not timed")
    todo = cases(options)
    asked = target(options, todo, work)
    found = run(todo, asked, work, options.out, options.budget_s)
    return 0 if all(has_rows(found["cases"][asked.key(case)], work.levels) for case in todo) else 1


def cases(options: argparse.Namespace) -> list[Case]:
    """Every combination of what may be given several times."""
    return [
        Case(
            layout,
            draft_tokens,
            acceptance=options.acceptance if draft_tokens else None,
            routing=routing,
            redundant_experts=redundant,
            eplb_policy=options.eplb_policy,
        )
        for layout, routing, redundant, draft_tokens in product(
            options.layout, options.routing, options.redundant_experts, options.draft_tokens
        )
        if not redundant or Case(layout).plan.ep
    ]


def target(options: argparse.Namespace, todo: list[Case], work: Workload | None = None) -> Target:
    """The checkpoint that is asked for, and for which work; written first if it has no weights."""
    if options.model:
        ModelShape.read(options.model)  # raises for what cannot be served
        model = options.model.resolve()
        beside = options.draft or options.model.parent / "eagle"
        draft = beside.resolve() if beside.exists() else None
    else:
        shape = replace(MISTRAL_SMALL_4, layers=options.layers or MISTRAL_SMALL_4.layers)
        model, draft = (options.out.resolve().parent / name for name in ("bench-target", "bench-eagle"))
        weights = WeightFormat(options.weights)
        dummy.write_target(model, shape, weights)
        dummy.write_draft(draft, shape, weights)
    if draft is None and any(case.draft_tokens for case in todo):
        raise ValueError(f"--draft={options.draft}: no draft head, and none beside --model={options.model}")
    environment = dict(_pair(text) for text in options.env)
    if options.kernels:
        environment["VLLM_TUNED_CONFIG_FOLDER"] = str(options.kernels.resolve(strict=True))
    return Target(
        model=str(model),
        draft=str(draft) if draft else None,
        dummy=options.model is None,
        params=json.loads((model / "params.json").read_text()),
        extra=dict(_argument(text) for text in options.engine),
        environment=environment,
        words=tuple(_words(options, work)),
    )


def _words(options: argparse.Namespace, work: Workload | None) -> Iterator[str]:
    """What sets a target apart."""
    if options.model:
        yield options.model.name
    if options.layers:
        yield f"{options.layers} layers"
    if options.weights != WEIGHTS[0] and not options.model:
        yield options.weights.upper()
    if options.kernels:
        yield "tuned kernels"
    yield from options.engine
    usual = (Workload.prompt_tokens, Workload.answer_tokens)
    if work and (work.prompt_tokens, work.answer_tokens) != usual:
        yield f"{work.prompt_tokens} in, {work.answer_tokens} out"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} must be as NAME=VALUE")
    return name, value


def _argument(text: str) -> tuple[str, Any]:
    """An engine argument; what is no JSON is a string."""
    name, value = _pair(text)
    if name not in ENGINE_NAMES:
        raise ValueError(f"--engine {name}: vLLM's engine has no such argument")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
