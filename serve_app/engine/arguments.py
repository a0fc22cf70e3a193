"""Which arguments does a pool's engine start with?"""

from collections.abc import Mapping
from typing import Any

from parallel.vllm_plugin import EXPERT_COUNTER, FP8_DRAFT_OUTPUT
from serve_app.config import Settings, resolve
from serve_app.engine.draft_length import draft_length_arguments

GRAMMARS = {"backend": "guidance"}
"""What compiles grammars. Left to itself, vLLM 0.29 takes for good what suits the first request that has one.
After a JSON schema that was XGrammar, which cannot read the grammar that mistral-common gives every chat:
from then on each chat, of each client, was a 500."""

NO_FETCHING = "images-by-url-are-off.invalid"
"""The only host that the engine itself may fetch images from: the name cannot exist (RFC 2606)."""


def engine_arguments(settings: Settings, pool_name: str) -> dict[str, Any]:
    """Return vLLM's arguments for `pool_name`: the model's, the plan's, then the operator's own."""
    model, pool = settings.model, settings.pools[pool_name]
    arguments: dict[str, Any] = {
        "model": str(resolve(model.path)),
        "served_model_name": list(model.names),
        "tokenizer_mode": "mistral",
        "config_format": "mistral",
        "load_format": "mistral",
        "tool_call_parser": "mistral",
        "enable_auto_tool_choice": True,
        "reasoning_parser": "mistral",
        "structured_outputs_config": GRAMMARS,
        "allowed_media_domains": [NO_FETCHING],
        "enable_log_requests": False,
    }
    if settings.tracing:
        arguments["otlp_traces_endpoint"] = settings.tracing.endpoint
    if pool.count_experts:
        arguments["worker_cls"] = EXPERT_COUNTER
    if spec := pool.speculation:
        speculative = {
            "method": "eagle",
            "model": str(resolve(spec.draft)),
            "num_speculative_tokens": spec.max_draft_tokens,
        }
        if spec.max_model_len:
            speculative["max_model_len"] = spec.max_model_len
        arguments["speculative_config"] = speculative | spec.engine
        arguments |= draft_length_arguments(settings, pool_name)
        if spec.fp8_output:
            arguments["additional_config"] = arguments.get("additional_config", {}) | {FP8_DRAFT_OUTPUT: True}
    given = pool.engine
    if isinstance(grammars := given.get("structured_outputs_config"), Mapping):
        given = given | {"structured_outputs_config": {**GRAMMARS, **grammars}}
    return arguments | pool.plan.engine_arguments() | given | {"max_num_seqs": pool.places_of_rank}
