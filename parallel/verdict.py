"""How is a planner's answer said: to people, to a pool's YAML, as JSON?"""

from typing import Any

from parallel.cost import MODEL_ERROR
from parallel.hardware import GIB
from parallel.memory import WeightFormat
from parallel.planner import INDISTINCT, Answer, Layout, Refusal, layout_name
from parallel.question import Objective, Question

UNITS: dict[Objective, str] = {
    "latency": "tok/s a user",
    "throughput": "tok/s in all",
    "cost": "tok/s a GPU",
}
"""What each objective counts; no prices are known, so the cost of a token is in GPU-seconds."""


def text(answer: Answer, pool: str) -> str:
    """The whole answer: verdict, reason, memory, speed, YAML, then the other layouts and the refusals."""
    lines = [verdict(answer), f"why: {reason(answer)}", *_notes(answer)]
    if best := answer.best:
        lines += ["", "memory of each GPU", *(f"  {line}" for line in str(best.memory).splitlines())]
        lines.append(f"  room for {best.kv_tokens} tokens of context a replica")
        lines += ["", "predicted, not measured", *_speed_lines(answer.question, best)]
        lines += ["", f"for the serve file (model.weight_format: {answer.question.weight_format.value})"]
        lines += [f"  {line}" for line in yaml(answer.question, best, pool).splitlines()]
    if len(answer.layouts) > 1:
        lines += ["", "the other layouts that fit, predicted"]
        lines += [f"  {_line(layout)}" for layout in answer.layouts[1:]]
    if answer.refusals:
        lines += ["", "not possible"]
        lines += [f"  {layouts}: {why}" for why, layouts in _by_reason(answer.refusals).items()]
    if answer.would_fit:
        lines += ["", "what would fit", *(f"  {one}" for one in answer.would_fit)]
    return "\n".join(lines)


def verdict(answer: Answer) -> str:
    """One line: what to run, or that nothing fits."""
    question, best = answer.question, answer.best
    asked = (
        f"{question.weight_format.value} on {question.cluster} with a context of {question.context_tokens}"
    )
    if best is None:
        return f"{asked}: does not fit"
    idle = question.cluster.nodes * question.cluster.gpus_per_node - best.num_gpus
    left = f", {idle} GPU{'s' if idle > 1 else ''} unused" if idle else ""
    return f"{asked}: {_replicas(best)}{left}"


def reason(answer: Answer) -> str:
    """One line: by what the best layout beats the others, or why the smallest one fails."""
    best, objective = answer.best, answer.question.objective
    if best is None:
        closest = min(answer.refusals, key=lambda one: one.missing_bytes or 10**18)
        return f"closest is {closest.layout}, but {closest.reason}"
    value, unit = best.value(objective), UNITS[objective]
    others = [layout for layout in answer.layouts[1:] if layout.plan != best.plan]
    if not others:
        room = f"room for {best.kv_tokens} tokens of context"
        return f"the only layout that fits; predicted {value:.0f} {unit}, {room}"
    next_best = others[0]
    gain = value / next_best.value(objective) - 1
    compared = (
        f"predicted {value:.0f} {unit}, {gain:+.0%} against {_replicas(next_best)}, the best of the others"
    )
    if gain > 1 / INDISTINCT - 1:
        return compared
    return f"{compared}; predictions are off by up to {MODEL_ERROR:.0%} each, so the simpler one"


def yaml(question: Question, layout: Layout, pool: str) -> str:
    """How the layout stands under `pools` in a serve file; the draft head's folder is the operator's."""
    plan = layout.plan
    degrees = {"tp": plan.tp, "dp": plan.dp, "ep": str(plan.ep).lower(), "nodes": plan.nodes}
    default = {"dp": 1, "ep": "false", "nodes": 1}
    given = ", ".join(f"{name}: {value}" for name, value in degrees.items() if value != default.get(name))
    lines = [
        f"{pool}:",
        f"  efforts: [{'high' if pool == 'latency' else 'none'}]",
        f"  gpu: {question.cluster.gpu.name}",
        f"  plan: {{{given}}}",
        f"  replicas: {layout.replicas}",
        f"  engine: {{max_model_len: {question.context_tokens}, "
        f"gpu_memory_utilization: {question.memory_utilization:g}}}",
    ]
    if question.speculation:
        lines.append(
            f"  speculation: {{draft: /models/eagle, max_draft_tokens: {question.speculation.draft_tokens}}}"
        )
    return "\n".join(lines)


def json_values(answer: Answer) -> dict[str, Any]:
    """The answer as values for JSON; sizes in bytes, times in seconds, `best` null if nothing fits."""
    layouts = [_values(layout) for layout in answer.layouts]
    return {
        "verdict": verdict(answer),
        "reason": reason(answer),
        "objective": answer.question.objective,
        "best": layouts[0] if layouts else None,
        "others": layouts[1:],
        "refused": [vars(refusal) for refusal in answer.refusals],
        "would_fit": list(answer.would_fit),
    }


def _values(layout: Layout) -> dict[str, Any]:
    plan = layout.plan
    return {
        "plan": {"tp": plan.tp, "dp": plan.dp, "ep": plan.ep, "nodes": plan.nodes},
        "replicas": layout.replicas,
        "memory_bytes": {row.name: row.num_bytes for row in layout.memory.rows},
        "kv_tokens": layout.kv_tokens,
        "predicted": {
            "requests_a_replica": layout.running,
            "step_s": layout.speed.step_s,
            "first_token_s": layout.speed.first_token_s,
            "user_tokens_per_s": layout.speed.user_tokens_per_s,
            "total_tokens_per_s": layout.total_tokens_per_s,
            "gpu_s_per_token": layout.gpu_s_per_token,
        },
    }


def _by_reason(refusals: tuple[Refusal, ...]) -> dict[str, str]:
    """Reasons, each with all its layouts."""
    layouts: dict[str, list[str]] = {}
    for refusal in refusals:
        layouts.setdefault(refusal.reason, []).append(refusal.layout)
    return {why: ", ".join(names) for why, names in layouts.items()}


def _notes(answer: Answer) -> list[str]:
    """What one should know before believing the figures."""
    gpu, weight_format, notes = answer.question.cluster.gpu, answer.question.weight_format, []
    bits = {WeightFormat.FP8: 8, WeightFormat.NVFP4: 4}.get(weight_format, 16)
    if not gpu.multiplies(bits):
        notes.append(f"note: {gpu.name} does not multiply {weight_format.value}: weight-only, in bf16")
    if gpu.name != "H200" or weight_format is not WeightFormat.FP8:
        notes.append("note: the cost model was fitted on H200 in fp8 alone, and is untested here")
    if answer.best and answer.best.plan.world_size > 1:
        measured = "only tp 2, tp 2 + ep and dp 2 + ep have been measured, without a draft head"
        notes.append(f"note: of layouts over several GPUs, {measured}")
    return notes


def _speed_lines(question: Question, layout: Layout) -> list[str]:
    load, speed = question.load, layout.speed
    lines = [
        f"  load: {load.concurrency:g} requests at once, of {load.prompt_tokens} + {load.answer_tokens} "
        f"tokens, {max(1.0, layout.running):.0f} under way a replica",
        f"  {speed.user_tokens_per_s:.0f} tok/s a user, {layout.total_tokens_per_s:.0f} in all, "
        f"{layout.gpu_s_per_token * 1e3:.3f} GPU-ms a token",
        f"  a step takes {speed.step_s * 1e3:.1f} ms; all prompts, sent together, are read in "
        f"{speed.first_token_s:.2f} s",
    ]
    if spec := question.speculation:
        lines.append(
            f"  with {spec.draft_tokens} draft tokens, if {spec.acceptance_length:g} tokens come of a step "
            f"(it depends on the content)"
        )
    return lines


def _line(layout: Layout) -> str:
    return (
        f"{_replicas(layout)}: {layout.speed.user_tokens_per_s:.0f} tok/s a user, "
        f"{layout.total_tokens_per_s:.0f} in all, {layout.gpu_s_per_token * 1e3:.3f} GPU-ms a token, "
        f"{layout.memory.rows[-1].num_bytes / GIB:.1f} GiB a GPU left for context"
    )


def _replicas(layout: Layout) -> str:
    plan, count = layout.plan, layout.replicas
    name = layout_name(plan.tp, plan.dp, plan.ep, plan.nodes)
    return f"{count} replica{'s' if count > 1 else ''} of {name}"
