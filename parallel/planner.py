"""Which layout serves a model best on given GPUs, which others would do, and why not the rest?

Every layout is tried: memory decides whether it can run, the cost model how well. More ranks a replica
are not taken to be better: they have to win by more than the model may be wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from parallel.cost import MODEL_ERROR, Engine
from parallel.fit import DoesNotFitError, cache_format, fit
from parallel.memory import MemoryReport, WeightFormat
from parallel.plan import ParallelPlan
from parallel.question import Cluster, Objective, Question
from parallel.speed import Speed, speed

INDISTINCT = (1 - MODEL_ERROR) / (1 + MODEL_ERROR)
"""A prediction of at least this share of another may really be the higher one: each has `MODEL_ERROR`."""


@dataclass(frozen=True)
class Layout:
    """A plan that fits, and what it is predicted to do."""

    plan: ParallelPlan
    replicas: int
    memory: MemoryReport
    """Each GPU's rows: weights, draft head, what the engine needs, and the cache that is left."""
    kv_tokens: int
    """Tokens of context that one replica has room for."""
    running: float
    """Requests that one replica works on at once, under this load and with this room."""
    speed: Speed
    """Of one replica."""

    @property
    def num_gpus(self) -> int:
        """GPUs in use."""
        return self.replicas * self.plan.world_size

    @property
    def total_tokens_per_s(self) -> float:
        """Output tokens a second of all replicas; where there are fewer requests, some are idle."""
        return self.replicas * min(1.0, self.running) * self.speed.total_tokens_per_s

    @property
    def gpu_s_per_token(self) -> float:
        """GPU-seconds for an output token: the cost, in a world that knows no prices."""
        return self.num_gpus / self.total_tokens_per_s

    def value(self, objective: Objective) -> float:
        """What is to be large: tokens a second of a user or of all, or tokens a GPU-second."""
        if objective == "latency":
            return self.speed.user_tokens_per_s
        return self.total_tokens_per_s if objective == "throughput" else 1 / self.gpu_s_per_token


@dataclass(frozen=True)
class Refusal:
    """A layout that cannot run, and why: what it needs, and what there is."""

    layout: str
    reason: str
    missing_bytes: int | None = None
    """Memory that each GPU lacks; None where the model cannot be divided so."""


@dataclass(frozen=True)
class Answer:
    """The layouts of a question."""

    question: Question
    layouts: tuple[Layout, ...]
    """Those that fit: the best one first, the others by the objective."""
    refusals: tuple[Refusal, ...]
    would_fit: tuple[str, ...] = ()
    """If nothing fits: what else would."""

    @property
    def best(self) -> Layout | None:
        """The layout to take."""
        return self.layouts[0] if self.layouts else None


def answer(question: Question) -> Answer:
    """Try every layout on the question's GPUs, and rank those that fit.

    The best is the one with the fewest ranks a replica among all that the model cannot tell from the
    highest: ranks that wait for each other have to be worth it, and are one more thing to fail.
    """
    layouts: list[Layout] = []
    refusals: list[Refusal] = []
    for tp, dp, ep, nodes in _degrees(question.cluster):
        try:
            plan = ParallelPlan(tp, dp, ep, nodes)
            memory, kv_tokens = fit(question, plan)
        except ValueError as error:
            missing_bytes = error.missing_bytes if isinstance(error, DoesNotFitError) else None
            refusals.append(Refusal(layout_name(tp, dp, ep, nodes), str(error), missing_bytes))
        else:
            layouts += _layouts(question, plan, memory, kv_tokens)
    if not layouts:
        return Answer(question, (), tuple(refusals), tuple(_would_fit(question)))
    objective = question.objective
    layouts.sort(key=lambda layout: -layout.value(objective))
    enough = layouts[0].value(objective) * INDISTINCT
    best = min((layout for layout in layouts if layout.value(objective) >= enough), key=_complexity)
    return Answer(question, (best, *(one for one in layouts if one is not best)), tuple(refusals))


def layout_name(tp: int, dp: int, ep: bool, nodes: int) -> str:
    """A layout in words."""
    parts = [f"tp {tp}" if tp > 1 or dp == 1 else "", f"dp {dp}" if dp > 1 else "", "ep" if ep else ""]
    name = " + ".join(filter(None, parts))
    return name if nodes == 1 else f"{name} over {nodes} nodes"


def _degrees(cluster: Cluster) -> Iterator[tuple[int, int, bool, int]]:
    """Every tp, dp, ep and number of nodes that the cluster has ranks for, smallest first."""
    for nodes in range(1, cluster.nodes + 1):
        for ranks_per_node in range(1, cluster.gpus_per_node + 1):
            world_size = nodes * ranks_per_node
            for tp in range(world_size, 0, -1):
                if world_size % tp == 0:
                    yield tp, world_size // tp, False, nodes
                    if world_size > 1:
                        yield tp, world_size // tp, True, nodes


def _layouts(
    question: Question, plan: ParallelPlan, memory: MemoryReport, kv_tokens: int
) -> Iterator[Layout]:
    """The plan with as many replicas as there are GPUs for; for the cost, with fewer ones too."""
    most = question.cluster.most_replicas(plan)
    for replicas in range(1 if question.objective == "cost" else most, most + 1):
        load = question.load
        room = kv_tokens / (load.prompt_tokens + load.answer_tokens)
        running = min(load.concurrency / replicas, room)
        engine = Engine(
            question.cluster.gpu,
            question.shape,
            question.weight_format,
            plan,
            cache_format(question),
            question.correlation,
        )
        predicted = speed(engine, replace(load, concurrency=max(1.0, running)), question.speculation)
        yield Layout(plan, replicas, memory, kv_tokens, running, predicted)


def _complexity(layout: Layout) -> tuple[int, ...]:
    plan = layout.plan
    return plan.world_size, plan.nodes, plan.dp, plan.ep, layout.replicas


def _would_fit(question: Question) -> Iterator[str]:
    """What else would fit, nearest first: less context, narrower weights, more GPUs."""
    shortest = question.load.prompt_tokens + question.load.answer_tokens
    tokens = max(
        (kv_tokens // plan.dp for plan, kv_tokens in _fitting(replace(question, context_tokens=shortest))),
        default=0,
    )
    if tokens:
        yield f"context up to {tokens} tokens instead of {question.context_tokens}"
    formats = list(WeightFormat)
    for narrower in formats[formats.index(question.weight_format) + 1 :]:
        plans = [plan for plan, _ in _fitting(replace(question, weight_format=narrower))]
        if plans:
            yield f"{narrower.value} weights instead of {question.weight_format.value}: {_smallest(plans)}"
    gpu, there = question.cluster.gpu, question.cluster.gpus_per_node * question.cluster.nodes
    for count in (2, 4, 8, 16, 32):
        cluster = Cluster(gpu, min(count, 8), max(1, count // 8))
        plans = [plan for plan, _ in _fitting(replace(question, cluster=cluster))] if count > there else []
        if plans:
            yield f"{cluster} instead of {question.cluster}: {_smallest(plans)}"
            return


def _fitting(question: Question) -> Iterator[tuple[ParallelPlan, int]]:
    """Each plan that fits, and its room in tokens."""
    for degrees in _degrees(question.cluster):
        try:
            plan = ParallelPlan(*degrees)
            _, kv_tokens = fit(question, plan)
        except ValueError:
            continue
        yield plan, kv_tokens


def _smallest(plans: list[ParallelPlan]) -> str:
    plan = min(plans, key=lambda plan: (plan.world_size, plan.dp, plan.ep))
    return layout_name(plan.tp, plan.dp, plan.ep, plan.nodes)
