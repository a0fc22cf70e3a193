"""Which engine does ray.serve.llm run in the benchmark? Its own, in the processes that the others have.

On CPU it insists on vLLM's executor for several processes; the other servers are measured without it.
"""

from typing import Any

from ray.llm._internal.serve.engines.vllm.vllm_engine import VLLMEngine


class OneProcessEngine(VLLMEngine):
    """Ray's engine, with the model in the process of vLLM's engine core."""

    def _prepare_engine_config(self, callback_ctx: Any) -> tuple[Any, Any, Any]:
        engine_args, frontend_args, config = super()._prepare_engine_config(callback_ctx)
        config.parallel_config.distributed_executor_backend = "uni"
        return engine_args, frontend_args, config
