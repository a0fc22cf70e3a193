"""How is vLLM's own OpenAI server run inside a replica, without a socket?"""

import asyncio
import logging
import time
import warnings
from collections.abc import AsyncGenerator, Mapping
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

from parallel.engine_log import Output
from parallel.load import Window
from serve_app.engine import (
    asgi,
    demands,
    grammars,
    log_handlers,
    response_ids,
    response_parts,
    stream_errors,
    token_ids,
    tool_pictures,
    turns,
    validation,
)
from serve_app.engine.group import Group
from serve_app.engine.reasoning import as_clients_read_it
from serve_app.engine.stats import EngineStats
from serve_app.errors import StartError
from serve_app.survival import Survived
from serve_app.types import Call, Head, ReplicaReport

CHAT_PATH = "/v1/chat/completions"
"""The one route with reasoning under two names; in other dialects `reasoning` is something else."""

EXPERTS_WINDOW_S = 60.0
"""What the load of experts is shown of."""


class VllmServer:
    """vLLM's FastAPI app and the engine behind it, in this process's event loop."""

    def __init__(self, app: Any, engine: Any, group: Group, stats: EngineStats) -> None:
        self._app = app
        self._engine = engine
        self._group = group
        self._stats = stats
        self._experts = Window(EXPERTS_WINDOW_S)

    @classmethod
    async def start(cls, arguments: Mapping[str, Any]) -> "VllmServer":
        """Load the model and return when the engine can take requests.

        `arguments`: vLLM's engine and server arguments under vLLM's own names. Raises what vLLM
        raises for a bad one, AttributeError for a name that it does not have, StartError with the reason
        where a process of the engine's fails, and, before anything is loaded,
        `parallel.vllm_plugin.fixes.MissingFixError` when the engine needs a fix to vLLM that is not in
        effect.
        """
        # Imported here: only a replica needs vLLM, and its import takes seconds.
        with log_handlers.kept_open(logging.getLogger("ray.serve")):
            import vllm.logger  # noqa: F401
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.entrypoints.launchers.api_server.app_state import init_app_state
        from vllm.entrypoints.launchers.app import build_app
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        from parallel.vllm_plugin.fixes import require

        namespace = server_namespace(arguments)
        engine_args = AsyncEngineArgs.from_cli_args(namespace)
        usage = UsageContext.OPENAI_API_SERVER
        config = engine_args.create_engine_config(usage_context=usage)
        require(config)
        stats = EngineStats()
        output = Output.from_now_on()
        try:
            engine = AsyncLLM.from_vllm_config(
                config,
                usage_context=usage,
                enable_log_requests=engine_args.enable_log_requests,
                aggregate_engine_logging=engine_args.aggregate_engine_logging,
                disable_log_stats=engine_args.disable_log_stats,
                stat_loggers=[stats.logger],
            )
        except RuntimeError as error:
            # vLLM says no more than that a process of the engine's failed; why is in that one's log.
            if reason := output.first_error():
                raise StartError(f"the engine did not start: {reason}") from error
            raise
        try:
            stream_errors.install()
            token_ids.install()
            response_parts.install()
            tool_pictures.install()
            turns.install()  # around the parts
            response_ids.install()
            demands.install(engine.get_tokenizer())
            settings = grammars.Settings(engine.get_tokenizer())
            engine.generate = grammars.from_the_start(engine.generate, settings)
            await engine.reset_mm_cache()  # profiling leaves dummy images in it
            tasks = await engine.get_supported_tasks()
            app = build_app(namespace, tasks, engine.model_config)
            await init_app_state(engine, app.state, namespace, tasks)
            validation.install(app)
            group = Group.of(engine)
            settle()
        except BaseException:
            engine.shutdown()
            raise
        # vLLM's error handler asks its uvicorn server to exit; a replica has none and leaves by itself.
        app.state.server = SimpleNamespace(should_exit=False)
        return cls(app, engine, group, stats)

    def call(self, call: Call) -> AsyncGenerator[Head | bytes, None]:
        """Run one HTTP call through vLLM's app; see `asgi.stream` for what is yielded and how it ends."""
        if call.path == CHAT_PATH:
            return asgi.stream(self._app, call, as_clients_read_it)
        return asgi.stream(self._app, call)

    @property
    def errored(self) -> bool:
        """Whether the engine is dead. It does not come back."""
        return bool(self.lost or self._engine.errored)

    @property
    def lost(self) -> str:
        """Which of the engine's processes was lost first; empty while none is known to be."""
        return self._group.lost

    @property
    def failure(self) -> str:
        """What became of a dead engine."""
        return f"the engine has lost {self.lost}" if self.lost else "the engine has errored"

    def report(self, replica: str, num_ongoing: int, is_draining: bool) -> ReplicaReport:
        """Say what the engine is doing, of the replica of that name with so many requests under way."""
        prefill_tokens = self._engine.output_processor.get_num_queued_tokens()
        return self._stats.report(replica, num_ongoing, prefill_tokens, is_draining)

    def forget_stats(self) -> None:
        """Forget what has been measured until now."""
        self._stats.forget()

    async def log_stats(self, period_s: float) -> None:
        """Log the engine's throughput and cache use every `period_s` seconds, as vLLM's server does."""
        survived = Survived("logging the engine's statistics")
        while True:
            await asyncio.sleep(period_s)
            with survived:
                await self._engine.do_log_stats()

    async def watch_experts(self, period_s: float) -> None:
        """Read the load of experts every `period_s` seconds; nothing where its worker does not count."""
        from parallel.vllm_plugin import expert_metrics

        shown, survived = expert_metrics.ExpertMetrics(), Survived("reading the load of experts")
        while expert_metrics.counts_experts(self._engine) and not self.errored:
            with survived:
                self._experts.add(time.monotonic(), await expert_metrics.read(self._engine))
                if load := self._experts.load():
                    shown.publish(load)
            await asyncio.sleep(period_s)

    def experts(self) -> dict[str, Any] | None:
        """Return the load of experts lately as plain values; None if it has not been read twice."""
        load = self._experts.load()
        return load.values() if load else None

    def close(self) -> None:
        """Stop the engine and its processes."""
        self._engine.shutdown()

    def kill(self) -> None:
        """End what is left of a dead engine on this node."""
        self._group.kill()


def settle() -> None:
    """Make what does not change after the start cost nothing more.

    The environment, which vLLM asks for every token, is read for the last time, as in its engine processes;
    and what is there now is not looked through for garbage again, as in vLLM's own server.
    """
    from vllm.envs import enable_envs_cache
    from vllm.utils.gc_utils import freeze_gc_heap

    enable_envs_cache()
    freeze_gc_heap()


def server_namespace(arguments: Mapping[str, Any]) -> Any:
    """Return vLLM's parsed command line with `arguments` in place of its defaults.

    A mapping for an argument that vLLM keeps as a configuration object becomes one, as on the command
    line. Raises AttributeError naming an argument that vLLM does not have.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    namespace = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    for name, value in arguments.items():
        if not hasattr(namespace, name):
            raise AttributeError(f"vLLM has no argument {name!r}")
        default = getattr(namespace, name)
        if isinstance(value, Mapping) and is_dataclass(default):
            value = default.__class__(**value)
        setattr(namespace, name, value)
    return namespace
