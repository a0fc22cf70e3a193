"""What does the cost model say of the runs in a results file?

python -m parallel compare bench.json
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from parallel.bench.case import Case
from parallel.cost import FITTED, Efficiency, Engine
from parallel.engine_arguments import context_splits
from parallel.hardware import GPUS, Gpu
from parallel.memory import WeightFormat
from parallel.model_shape import ModelShape
from parallel.plan import ParallelPlan
from parallel.speed import Load, Speculation, Speed, speed


@dataclass(frozen=True)
class Pair:
    """One measured row, and what is predicted for its setting."""

    name: str
    requests: int
    user_tokens_per_s: float
    total_tokens_per_s: float
    step_ms: float
    predicted: Speed
    """Of one replica, at its share of the requests."""
    replicas: int

    @property
    def user_error(self) -> float:
        """By how much the prediction is off: 0.1 is a tenth too fast."""
        return self.predicted.user_tokens_per_s / self.user_tokens_per_s - 1

    @property
    def total_error(self) -> float:
        """The same for all requests together."""
        return self.predicted.total_tokens_per_s * self.replicas / self.total_tokens_per_s - 1


def pairs(results: Mapping[str, Any], efficiency: Efficiency = FITTED) -> Iterator[Pair]:
    """Every row of a results file that has a speed; ValueError for a GPU that is not known here."""
    for name, record in results["cases"].items():
        work = record.get("workload", results["workload"])  # of all cases, where they do not say
        case = Case(**record["case"])
        engine = engine_of(results["machine"], record, case.plan, efficiency)
        chunk_tokens = record["arguments"].get("max_num_batched_tokens", Load.chunk_tokens)
        for row in record["rows"]:
            if not row["user_tokens_per_s"]:
                continue
            share = row["requests"] / case.replicas
            load = Load(max(1.0, share), work["prompt_tokens"], work["answer_tokens"], chunk_tokens)
            spoken = None
            if case.draft_tokens:
                # A client that reads late is told of two steps at once.
                spoken = Speculation(case.draft_tokens, min(row["tokens_a_step"], case.draft_tokens + 1))
            yield Pair(
                name=name,
                requests=row["requests"],
                user_tokens_per_s=row["user_tokens_per_s"],
                total_tokens_per_s=row["total_tokens_per_s"],
                step_ms=row["step_ms"],
                predicted=speed(engine, load, spoken),
                replicas=min(case.replicas, row["requests"]),
            )


def table(results: Mapping[str, Any]) -> str:
    """A Markdown table: measured, predicted, and by how much the prediction is off."""
    lines = [
        "| case | requests | tok/s a user | said | off | step ms | said | tok/s in all | said | off |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.name} | {one.requests} "
        f"| {one.user_tokens_per_s:.1f} | {one.predicted.user_tokens_per_s:.1f} | {one.user_error:+.0%} "
        f"| {one.step_ms:.2f} | {1000 * one.predicted.step_s:.2f} "
        f"| {one.total_tokens_per_s:.0f} | {one.predicted.total_tokens_per_s * one.replicas:.0f} "
        f"| {one.total_error:+.0%} |"
        for one in pairs(results)
    ]
    return "\n".join(lines)


def engine_of(
    machine: Mapping[str, Any],
    record: Mapping[str, Any],
    plan: ParallelPlan,
    efficiency: Efficiency = FITTED,
) -> Engine:
    """The engine of a record that has its `params` and `arguments`, as the cost model takes it."""
    return Engine(
        measured_gpu(machine["gpus"]),
        ModelShape.from_params(record["params"]),
        weights_of(record["params"]),
        plan,
        context_splits=context_splits(record["arguments"]),
        efficiency=efficiency,
    )


def weights_of(params: Mapping[str, Any]) -> WeightFormat:
    """The format of a benchmark's weights: what `dummy` writes, or a checkpoint in BF16 or FP8."""
    if "quantization" not in params:
        return WeightFormat.BF16
    return WeightFormat.FP8 if "qformat_weight" in params["quantization"] else WeightFormat.NVFP4


def measured_gpu(found: list[Mapping[str, str]]) -> Gpu:
    """The GPU that nvidia-smi named; of one that comes in two sizes, the larger that fits its memory.

    ValueError for one that is not known here, and for none.
    """
    if not found:
        raise ValueError("machine.gpus is empty: this was not measured on a GPU")
    name, memory_mib = found[0]["name"], float(found[0]["memory.total"].split()[0])
    known = [gpu for gpu in GPUS.values() if gpu.name.split("-")[0] in name]
    fitting = [gpu for gpu in known if gpu.memory_bytes <= memory_mib * 2**20 * 1.02]
    if not fitting:
        raise ValueError(f"machine.gpus={name!r} is none of {', '.join(GPUS)}")
    return max(fitting, key=lambda gpu: gpu.memory_bytes)
