"""What does a pool's engine start with so that its number of draft tokens follows what it is worth?"""

from typing import Any

from parallel.speculation import predicted_times
from parallel.vllm_plugin import DRAFT_LENGTH, DRAFT_LENGTH_SCHEDULER
from serve_app.config import Settings
from serve_app.engine.fit import cost_engine, head_shape

CONTEXT_TOKENS = 2048
"""What the predicted step times are for; measured ones take their place."""


def draft_length_arguments(settings: Settings, pool_name: str) -> dict[str, Any]:
    """Return vLLM's arguments for `speculation.adapt`; none where it is off."""
    pool = settings.pools[pool_name]
    spec = pool.speculation
    if spec is None or not spec.adapt:
        return {}
    given: dict[str, Any] = {"adapt": spec.adapt.values()}
    if engine := cost_engine(settings, pool_name):
        times = predicted_times(
            engine,
            head_shape(settings, pool_name, spec),
            max_sequences=pool.places_of_rank,
            context_tokens=CONTEXT_TOKENS,
            max_draft_tokens=spec.max_draft_tokens,
            drafts_all=pool.plan.dp > 1,
        )
        given["predicted_s"] = [[float(f"{seconds:.4g}") for seconds in row] for row in times]
    return {"scheduler_cls": DRAFT_LENGTH_SCHEDULER, "additional_config": {DRAFT_LENGTH: given}}
