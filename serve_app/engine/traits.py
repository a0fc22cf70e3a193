"""What is known of a pool before any of its replicas has said a word: its limits, and its predicted speed."""

from parallel.step_table import StepTable, straight, tabulate
from serve_app.config import Settings
from serve_app.engine.fit import cost_engine, head_shape
from serve_app.engine.upstream.words import ROUTES
from serve_app.types import PoolSnapshot

UPSTREAM_GUESS = StepTable((straight({1: 0.02, 2: 0.02}),), 0.5, 2e-5)
"""For a server that is not ours, until it is measured: what Venturi has there is only a part of its batch,
so that its steps take as long whatever that part is."""


def traits(settings: Settings, pool_name: str) -> PoolSnapshot:
    """Return the pool without replicas."""
    pool = settings.pools[pool_name]
    if upstream := pool.upstream:
        return PoolSnapshot(
            pool_name,
            frozenset(pool.efforts),
            max_num_seqs=settings.upstream_share(pool_name),
            max_model_len=upstream.max_model_len,
            routes=frozenset(ROUTES[dialect] for dialect in upstream.dialects),
            serves=frozenset(upstream.serves),
        )
    max_model_len = pool.engine.get("max_model_len")
    return PoolSnapshot(
        pool_name,
        frozenset(pool.efforts),
        speculates=pool.speculation is not None,
        max_num_seqs=pool.places,
        max_model_len=max_model_len if isinstance(max_model_len, int) else None,
        biases_drafts=pool.speculation is not None and _has_v2_runner(settings, pool_name),
        draft_max_len=pool.speculation.max_model_len if pool.speculation else None,
        may_sleep=pool.autoscaling is not None and pool.autoscaling.min_replicas == 0,
    )


def _has_v2_runner(settings: Settings, pool_name: str) -> bool:
    """Whether vLLM's model runner is V2: on GPUs, unless somebody says otherwise."""
    said = settings.engine_environment(pool_name).get("VLLM_USE_V2_MODEL_RUNNER")
    return settings.pools[pool_name].device == "gpu" and said != "0"


def step_tables(settings: Settings) -> dict[str, StepTable]:
    """Return the step times of every pool of which something is known, by the pool's name.

    For a known GPU they are the cost model's, for a server that is not ours UPSTREAM_GUESS.
    """
    tables = {name: UPSTREAM_GUESS for name, pool in settings.pools.items() if pool.upstream}
    for name, pool in settings.engine_pools.items():
        if engine := cost_engine(settings, name):
            most = traits(settings, name).max_num_seqs
            if pool.speculation:
                head = head_shape(settings, name, pool.speculation)
                tables[name] = tabulate(engine, most, head, pool.speculation.max_draft_tokens)
            else:
                tables[name] = tabulate(engine, most)
    return tables
