"""How does vLLM draft as many tokens as `parallel.speculation` says, from step to step?

    scheduler_cls: parallel.vllm_plugin.draft_length.scheduler
    additional_config: {draft_length: {adapt: {}, predicted_s: ...}}

Reason: vLLM can change its number of draft tokens by a schedule over batch sizes, fixed before the engine
starts, whatever text comes. It looks k up in `dynamic_sd_lookup`; here that is the controller's k. The rest
of vLLM's dynamic speculation is used as it is. The configuration names it, so it cannot be missing unnoticed.
Upstream symptom (vllm#49548): at a threshold of the schedule throughput falls, to a tenth at worst. vLLM
counts every request of a step, those that only read their prompt too, so k flips from step to step, and
shapes and graphs with it. Here k stays for a window of steps, and depends on those that decode. A schedule
also takes full graphs from model runner V1 at every k; without one the largest k keeps them. Model runner V2
has full graphs for every k (`draft_graphs`).
And "not supported with data parallelism": ranks of unlike k would make unlike numbers of passes through the
head, and wait for each other for ever; so would one that idles, at k = 0. With dp > 1 the head proposes the
full number of tokens: k is only how many are verified. Model runner V2 by itself always does so
(`draft_passes`). There ranks of unlike k have no CUDA graph either, so that the configuration refuses both.
No longer needed when: vLLM chooses k by acceptance and step times.
"""

from time import perf_counter
from typing import Any, cast

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.outputs import DraftTokenIds

from parallel.speculation import Adapt, DraftLength, Steps, Window
from parallel.vllm_plugin import DRAFT_LENGTH


def scheduler(vllm_config: Any, **arguments: Any) -> Any:
    """Return vLLM's own scheduler, synchronous or not as configured, with k decided by a controller."""
    kind = AsyncAdaptive if vllm_config.scheduler_config.async_scheduling else SyncAdaptive
    return kind(vllm_config=vllm_config, **arguments)


class InForce:
    """Stands for vLLM's table of k by batch size: the controller's k, whatever batch is asked for."""

    def __init__(self, control: DraftLength) -> None:
        self._control = control

    def __getitem__(self, num_requests: int) -> int:
        """K for the next drafts."""
        return self._control.draft_tokens


class Adaptive:
    """What is added to either of vLLM's schedulers."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        this = cast(Any, self)
        given = this.vllm_config.additional_config[DRAFT_LENGTH]
        self._adapt = Adapt(**given["adapt"])
        self._control = DraftLength(this.num_spec_tokens, self._adapt, given.get("predicted_s"))
        self._steps = Steps(this.num_spec_tokens)
        self._drafts_all = this.vllm_config.parallel_config.data_parallel_size > 1
        self._is_v2 = this.vllm_config.use_v2_model_runner
        self._proposed = this.num_spec_tokens
        self._ended_at = perf_counter()
        this.dynamic_sd_lookup = InForce(self._control)

    def hold(self, draft_tokens: int) -> None:
        """Take k for what it is to be until the next decision."""
        self._control.draft_tokens = draft_tokens

    def seen(self) -> Window:
        """What was seen since the last decision, or since this was asked last: a step at least."""
        return self._steps.window(self._control.draft_tokens)

    def _update_after_schedule(self, scheduled: Any) -> None:
        # What the next step verifies is settled in here; what workers draft is read off `scheduled` after.
        cast(Any, super())._update_after_schedule(scheduled)
        self._proposed = self._to_propose(scheduled.num_spec_tokens_to_schedule)
        scheduled.num_spec_tokens_to_schedule = self._proposed

    def _to_propose(self, k: int) -> int:
        """How many drafts the head proposes where k are to be verified."""
        if self._drafts_all:
            return int(cast(Any, self).num_spec_tokens)
        return max(1, k) if self._is_v2 else k

    def update_draft_token_ids(self, drafts: Any) -> None:
        """Keep of each request's draft what is to be verified; asynchronous scheduling has done so before.

        Model runner V2 returns as many tokens as the head can propose, the last of them of earlier steps.
        """
        if self._drafts_all or self._is_v2:
            most = min(self._proposed, self._control.draft_tokens)
            drafts = DraftTokenIds(drafts.req_ids, [draft[:most] for draft in drafts.draft_token_ids])
        cast(Any, super()).update_draft_token_ids(drafts)

    def make_spec_decoding_stats(
        self,
        stats: Any,
        num_draft_tokens: int,
        num_accepted_tokens: int,
        num_invalid_spec_tokens: dict[str, int] | None,
        request_id: str,
    ) -> Any:
        """Note what became of one draft; what a grammar ruled out was not proposed."""
        ruled_out = (num_invalid_spec_tokens or {}).get(request_id, 0)
        self._steps.verified(num_draft_tokens - ruled_out, num_accepted_tokens)
        return cast(Any, super()).make_spec_decoding_stats(
            stats, num_draft_tokens, num_accepted_tokens, num_invalid_spec_tokens, request_id
        )

    def update_from_output(self, scheduled: Any, output: Any) -> Any:
        """Note how long the step took, and decide k when a window is over."""
        result = cast(Any, super()).update_from_output(scheduled, output)
        now = perf_counter()
        step_s, self._ended_at = now - self._ended_at, now
        num_requests = len(scheduled.num_scheduled_tokens)
        num_reading = len(scheduled.scheduled_new_reqs)  # their prompts, others the rest of theirs
        num_reading += scheduled.scheduled_cached_reqs.num_output_tokens.count(0)
        num_decoding = num_requests - num_reading
        if num_decoding:
            k = self._control.draft_tokens
            # Nothing but verification at k, and drafting for the same k. What decodes was there the step
            # before: the engine was not idle in between.
            typical = (
                num_decoding == num_requests
                and scheduled.total_num_scheduled_tokens == num_requests * (k + 1)
                and scheduled.num_spec_tokens_to_schedule == self._to_propose(k)
            )
            self._steps.ended(num_decoding, step_s if typical else None)
            if len(self._steps) >= self._adapt.window_steps:
                self._control.decide(self.seen())
        return result


class SyncAdaptive(Adaptive, Scheduler):
    """The scheduler that waits for each step, as on CPUs."""


class AsyncAdaptive(Adaptive, AsyncScheduler):
    """The scheduler that plans the next step while one runs."""
