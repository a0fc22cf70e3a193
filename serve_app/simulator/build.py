"""What do the pools of a scenario come to: step times, room for context, and the policy's own tables?"""

from dataclasses import dataclass
from functools import lru_cache

from parallel import hardware
from parallel.cost import Engine
from parallel.fit import fit
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4
from parallel.question import Cluster, Question
from parallel.speed import Load, Speculation
from parallel.step_table import StepTable, tabulate
from serve_app.errors import ConfigError
from serve_app.simulator.engine import EngineSpec
from serve_app.simulator.scenario import Pool, Scenario
from serve_app.simulator.step_times import step_times
from serve_app.types import PoolSnapshot

GPUS_PER_NODE = 8


@dataclass(frozen=True)
class Built:
    """One pool, ready to be simulated."""

    spec: EngineSpec
    table: StepTable
    """What the router predicts with: coarser than the engine's own times, as in production."""
    traits: PoolSnapshot
    """The pool without replicas."""


def build(scenario: Scenario) -> dict[str, Built]:
    """Return the pools by name; ConfigError for one whose model does not fit on its GPUs."""
    built = {}
    for name, pool in scenario.pools.items():
        try:
            spec, table = _engine(scenario.gpu, scenario.weight_format, _engine_part(pool))
        except ValueError as error:
            raise ConfigError([f"pools.{name}: {error}"]) from None
        traits = PoolSnapshot(
            name,
            frozenset(pool.efforts),
            speculates=pool.speculation is not None,
            max_num_seqs=pool.max_num_seqs,
        )
        built[name] = Built(spec, table, traits)
    return built


def _engine_part(pool: Pool) -> Pool:
    """Return the pool less what its engines do not depend on, so that equal engines are built once."""
    return pool.model_copy(
        update={"replicas": 1, "autoscaling": None, "efforts": (), "max_queued_requests": 1}
    )


@lru_cache(maxsize=32)
def _engine(gpu_name: str, weight_format: WeightFormat, pool: Pool) -> tuple[EngineSpec, StepTable]:
    gpu, plan = hardware.gpu(gpu_name), pool.plan.value()
    acceptance = pool.speculation.acceptance if pool.speculation else ()
    speculation = Speculation(len(acceptance), 1 + sum(acceptance)) if acceptance else None
    engine = Engine(gpu, MISTRAL_SMALL_4, weight_format, plan, context_splits=pool.context_splits)
    question = Question(
        cluster=Cluster(gpu, min(GPUS_PER_NODE, plan.world_size), plan.nodes),
        shape=MISTRAL_SMALL_4,
        weight_format=weight_format,
        context_tokens=2,
        load=Load(1, prompt_tokens=1, answer_tokens=1),
        objective="throughput",
        memory_utilization=pool.gpu_memory_utilization,
        speculation=speculation,
    )
    kv_tokens = fit(question, plan)[1]
    times = step_times(engine, pool.max_num_seqs, pool.max_num_batched_tokens, speculation)
    spec = EngineSpec(
        times,
        plan.world_size,
        pool.max_num_seqs,
        pool.max_num_batched_tokens,
        kv_tokens,
        acceptance,
    )
    head = speculation.head_for(MISTRAL_SMALL_4) if speculation else None
    return spec, tabulate(engine, pool.max_num_seqs, head, len(acceptance))
