"""What is known of a pool before any of its replicas has said a word: its limits, and its predicted speed."""

from parallel.step_table import StepTable, tabulate
from serve_app.config import Settings
from serve_app.engine.fit import cost_engine, cost_head
from serve_app.types import PoolSnapshot

MAX_NUM_SEQS = 256
"""Places of a rank whose `engine.max_num_seqs` is not given: vLLM's default on most devices."""


def traits(settings: Settings, pool_name: str) -> PoolSnapshot:
    """Return the pool without replicas."""
    pool = settings.pools[pool_name]
    max_num_seqs, max_model_len = (pool.engine.get(name) for name in ("max_num_seqs", "max_model_len"))
    return PoolSnapshot(
        pool_name,
        frozenset(pool.efforts),
        speculates=pool.speculation is not None,
        max_num_seqs=(max_num_seqs or MAX_NUM_SEQS) * pool.plan.dp,
        max_model_len=max_model_len if isinstance(max_model_len, int) else None,
        draft_max_len=pool.speculation.max_model_len if pool.speculation else None,
    )


def step_tables(settings: Settings) -> dict[str, StepTable]:
    """Return the cost model's step times of every pool whose GPU is known, by the pool's name."""
    tables = {}
    for name, pool in settings.pools.items():
        if engine := cost_engine(settings, name):
            most = (pool.engine.get("max_num_seqs") or MAX_NUM_SEQS) * pool.plan.dp
            if pool.speculation:
                head = cost_head(settings, name, engine)
                tables[name] = tabulate(engine, most, head, pool.speculation.max_draft_tokens)
            else:
                tables[name] = tabulate(engine, most)
    return tables
