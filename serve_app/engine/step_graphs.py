"""How large is the largest step of an engine that is recorded as a CUDA graph, and how large a full one?

Without a graph the processor launches each of a step's kernels by itself, which can take longer than they do.
"""

from parallel.engine_arguments import largest_graph
from serve_app.config import Pool

USUAL_TOKENS = 512
"""Tokens of the largest step that vLLM 0.29 records by itself."""


def recorded_tokens(pool: Pool) -> int:
    """Tokens of the largest step that a pool's engine records; 0 where it records none, as without a GPU."""
    if not pool.gpu or pool.engine.get("enforce_eager"):
        return 0
    return largest_graph(pool.engine) or USUAL_TOKENS


def full_step_tokens(pool: Pool) -> int:
    """Tokens of a step in which every place of an engine decodes: one of each request, and its drafts."""
    drafts = pool.speculation.max_draft_tokens if pool.speculation else 0
    return pool.places_of_rank * (1 + drafts)
