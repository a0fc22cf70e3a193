"""What does an engine say of itself? Read off the statistics that vLLM hands out with every step.

Nothing is asked for: vLLM counts all of this anyway, for its metrics.
"""

import time
from collections.abc import Callable
from typing import Any

from serve_app.types import ReplicaReport

HALF_LIFE_S = 5.0
"""Means are over what happened lately: after so long a sample counts half."""
LEAST_SAMPLES = 0.01
"""A mean is forgotten when its samples have faded to less: else a replica that was slow once, and is avoided
for it, would never be seen to have recovered. That takes half a minute for one sample, more for many."""


class EngineStats:
    """The engine cores of one replica: the state of each after its last step, and means over all of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent = Recent(clock)
        self._states: dict[int, Any] = {}
        self._num_cores = 0
        self._moved_at_s = clock()
        """When a core last took a step, or was seen to have nothing to do."""
        self._max_draft_tokens = 0

    def logger(self, vllm_config: Any, _: int = 0) -> "StepLogger":
        """Return vLLM's stat logger for one more engine core: a factory, as its `stat_loggers` take them."""
        self._num_cores += 1
        if speculative := vllm_config.speculative_config:
            self._max_draft_tokens = speculative.num_speculative_tokens
        return StepLogger(self)

    def forget(self) -> None:
        """Forget the means: a replica's first requests are those of its readiness check."""
        self._recent = Recent(self._clock)

    def record(self, core: int, state: Any, step: Any) -> None:
        """Take in a step of a core: vLLM's SchedulerStats and IterationStats, either of which may be None."""
        self._moved_at_s = self._clock()
        if state is not None:
            self._states[core] = state
        if step is None:
            return
        add = self._recent.add
        self._recent.fade()
        decoded = step.inter_token_latencies_iter
        firsts = step.time_to_first_tokens_iter
        if num_decoded := len(decoded):
            add("batch_size", num_decoded * num_decoded, num_decoded)
            add("per_token_s", sum(decoded), step.num_generation_tokens - len(firsts))
        if firsts:
            add("ttft_s", sum(firsts), len(firsts))
        for request in step.finished_requests:
            add("prefill_s", request.prefill_time)
            add("prefill_mean_tokens", request.num_prompt_tokens - request.num_cached_tokens)
            add("answer_tokens", request.num_generation_tokens)
        if self._max_draft_tokens and num_decoded:
            drafts = state.spec_decoding_stats if state is not None else None
            add("draft_tokens", drafts.num_draft_tokens if drafts else 0, num_decoded)
            if drafts:
                for position, (accepted, drafted) in enumerate(
                    zip(drafts.num_accepted_tokens_per_pos, drafts.num_draft_tokens_per_pos, strict=True)
                ):
                    add(f"acceptance {position}", accepted, drafted)

    def report(
        self, replica: str, num_ongoing: int, prefill_tokens: int, is_draining: bool = False
    ) -> ReplicaReport:
        """Say what the engine is doing. After its last request a core takes no step that would say so."""
        self._recent.fade()
        mean = self._recent.mean
        now_s = self._clock()
        if not num_ongoing:
            self._moved_at_s = now_s
        states = list(self._states.values()) if num_ongoing else []
        batch_size = mean("batch_size")
        draft_tokens = mean("draft_tokens")
        accepted = (mean(f"acceptance {position}") for position in range(self._max_draft_tokens))
        return ReplicaReport(
            replica,
            num_ongoing,
            num_running=sum(state.num_running_reqs for state in states),
            num_waiting=sum(state.num_waiting_reqs + state.num_skipped_waiting_reqs for state in states),
            kv_usage=max((state.kv_cache_usage for state in states), default=0.0),
            prefill_tokens=prefill_tokens,
            stalled_s=now_s - self._moved_at_s,
            batch_size=None if batch_size is None else batch_size * self._num_cores,
            ttft_s=mean("ttft_s"),
            per_token_s=mean("per_token_s"),
            prefill_s=mean("prefill_s"),
            prefill_mean_tokens=mean("prefill_mean_tokens"),
            answer_tokens=mean("answer_tokens"),
            acceptance=tuple(share for share in accepted if share is not None),
            draft_tokens=self._max_draft_tokens if draft_tokens is None else round(draft_tokens),
            is_draining=is_draining,
        )


class StepLogger:
    """vLLM's stat logger of one engine core, as far as vLLM calls one."""

    def __init__(self, stats: EngineStats) -> None:
        self._stats = stats

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        """Pass a step on."""
        self._stats.record(engine_idx, scheduler_stats, iteration_stats)

    def log(self) -> None:
        """Say nothing: vLLM's own logger does."""

    def log_engine_initialized(self) -> None:
        """Say nothing."""

    def record_sleep_state(self, is_awake: int, level: int) -> None:
        """Nothing of ours depends on it."""


class Recent:
    """Means by name, of samples that fade."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._faded_at_s = clock()
        self._sums: dict[str, tuple[float, float]] = {}

    def fade(self) -> None:
        """Let what was added until now count for less, by the time that has passed."""
        now_s = self._clock()
        share = 0.5 ** ((now_s - self._faded_at_s) / HALF_LIFE_S)
        self._faded_at_s = now_s
        self._sums = {name: (total * share, count * share) for name, (total, count) in self._sums.items()}

    def add(self, name: str, total: float, count: float = 1.0) -> None:
        """Add `count` samples that come to `total`."""
        before, num_before = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = before + total, num_before + count

    def mean(self, name: str) -> float | None:
        """Return the mean, or None where there has been no sample lately."""
        total, count = self._sums.get(name, (0.0, 0.0))
        return total / count if count >= LEAST_SAMPLES else None
