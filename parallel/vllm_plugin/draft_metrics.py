"""Which Prometheus metrics say what the number of draft tokens is, and what it is worth?

vLLM's own count drafts and accepted tokens; steps without drafts, acceptance where k changes, and step times
are not among them. vLLM loads this logger through its entry points (`vllm.stat_logger_plugins`), in the
process that serves HTTP: it sees each step's counts, and estimates from them as the controller in the engine
does.
"""

from time import perf_counter
from typing import Any

from prometheus_client import Counter, Gauge
from vllm.v1.metrics.loggers import StatLoggerBase

from parallel.speculation import Adapt, Estimates, Steps
from parallel.vllm_plugin import DRAFT_LENGTH

STEPS = Counter(
    "venturi_verify_steps",
    "Engine steps that decoded, by draft tokens a sequence",
    ["engine", "draft_tokens"],
)
DRAFT_TOKENS = Gauge("venturi_draft_tokens", "Draft tokens a sequence in the latest step", ["engine"])
ACCEPTANCE = Gauge(
    "venturi_draft_acceptance",
    "Share of drafts accepted up to this position, lately",
    ["engine", "position"],
)
GAIN = Gauge(
    "venturi_draft_gain",
    "Tokens a second over those at 0 draft tokens, by the cost model's step times and by measured ones",
    ["engine", "step_times"],
)


class DraftMetrics(StatLoggerBase):
    """Watches one engine; does nothing where its k does not change."""

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        self._engine = str(engine_index)
        self._estimates: Estimates | None = None
        given = vllm_config.additional_config.get(DRAFT_LENGTH)
        if given is None:
            return
        adapt, most = Adapt(**given["adapt"]), vllm_config.speculative_config.num_speculative_tokens
        self._window_steps = adapt.window_steps
        self._predicts = given.get("predicted_s") is not None
        self._estimates = Estimates(most, adapt.memory_drafts, given.get("predicted_s"))
        self._steps = Steps(most)
        self._draft_tokens = most
        self._ended_at = perf_counter()

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Take in one step."""
        now = perf_counter()
        if self._estimates is None or scheduler_stats is None or iteration_stats is None:
            return
        step_s, self._ended_at = now - self._ended_at, now
        drafts = scheduler_stats.spec_decoding_stats
        num_sequences = drafts.num_drafts if drafts else scheduler_stats.num_running_reqs
        reads_prompts = iteration_stats.num_prompt_tokens > 0
        if not num_sequences or (reads_prompts and not drafts):
            return
        k = round(drafts.num_draft_tokens / drafts.num_drafts) if drafts else 0
        if k != self._draft_tokens:
            self._publish()
            self._draft_tokens = k
            typical = False  # this step verified at one k and drafted at another
        else:
            typical = not reads_prompts
        if drafts:
            self._steps.counted(drafts.num_draft_tokens_per_pos, drafts.num_accepted_tokens_per_pos)
        self._steps.ended(num_sequences, step_s if typical else None)
        if len(self._steps) >= self._window_steps:
            self._publish()

    def log_engine_initialized(self) -> None:
        """Nothing to say then."""

    def _publish(self) -> None:
        assert self._estimates is not None
        if not len(self._steps):
            return
        STEPS.labels(self._engine, str(self._draft_tokens)).inc(len(self._steps))
        window = self._steps.window(self._draft_tokens)
        self._estimates.learn(window)
        DRAFT_TOKENS.labels(self._engine).set(self._draft_tokens)
        for position, share in enumerate(self._estimates.survival(), start=1):
            ACCEPTANCE.labels(self._engine, str(position)).set(share)
        self._set_gain("measured", self._estimates.gains(window.num_sequences))
        if self._predicts:
            self._set_gain("predicted", self._estimates.predicted_gains(window.num_sequences))

    def _set_gain(self, step_times: str, gains: list[float]) -> None:
        GAIN.labels(self._engine, step_times).set(gains[self._draft_tokens])
