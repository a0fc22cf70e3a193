"""Does vLLM's scheduler draft and verify as many tokens as the controller says, and learn from its steps?

That answers stay the same is shown on a real engine in test_expert_parallel.
"""

from types import SimpleNamespace
from typing import Any

import pytest
from vllm.config import VllmConfig
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.outputs import DraftTokenIds

from parallel.speculation import Steps
from parallel.vllm_plugin import draft_length
from parallel.vllm_plugin.draft_length import Adaptive, scheduler

MOST = 3


class Bare:
    """As much of a scheduler as the additions touch."""

    def __init__(self, vllm_config: Any) -> None:
        self.vllm_config = vllm_config
        self.num_spec_tokens = MOST
        self.dynamic_sd_lookup: Any = None
        self.verified_next: Any = None
        self.drafts: Any = None

    def _update_after_schedule(self, scheduled: Any) -> None:
        self.verified_next = scheduled.num_spec_tokens_to_schedule

    def update_draft_token_ids(self, drafts: Any) -> None:
        """Keep them."""
        self.drafts = drafts

    def make_spec_decoding_stats(self, *counts: Any) -> Any:
        """What it was called with."""
        return counts

    def update_from_output(self, scheduled: Any, output: Any) -> Any:
        """What came."""
        return output


class Under(Adaptive, Bare):
    """The additions on top of it."""


def config(*, dp: int = 1, v2: bool = False, asynchronous: bool = False, **adapt: float) -> Any:
    """An engine's configuration, as far as it matters here: on text nothing is known of, k = 0 is best."""
    given = {"adapt": {"window_steps": 4, "explore": 0.0} | adapt, "predicted_s": [[1.0, 9.0, 9.0, 9.0]]}
    return SimpleNamespace(
        additional_config={"draft_length": given},
        parallel_config=SimpleNamespace(data_parallel_size=dp),
        scheduler_config=SimpleNamespace(async_scheduling=asynchronous),
        use_v2_model_runner=v2,
    )


def step(
    under: Any, *, num_decoding: int = 2, num_new: int = 0, num_reading_on: int = 0, prompt_tokens: int = 0
) -> Any:
    """One step of an engine: schedule, run, take in; gives what the workers were told."""
    num_requests = num_decoding + num_new + num_reading_on
    k = under.dynamic_sd_lookup[num_requests]
    scheduled = SimpleNamespace(
        num_scheduled_tokens=dict.fromkeys(range(num_requests), 1),
        total_num_scheduled_tokens=num_decoding * (k + 1) + prompt_tokens,
        scheduled_new_reqs=[None] * num_new,
        scheduled_cached_reqs=SimpleNamespace(num_output_tokens=[9] * num_decoding + [0] * num_reading_on),
        num_spec_tokens_to_schedule=k,
    )
    under._update_after_schedule(scheduled)
    for request in range(num_decoding):
        if k:
            under.make_spec_decoding_stats(None, k, 0, None, str(request))
    assert under.update_from_output(scheduled, "output") == "output"
    return scheduled


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The times that steps were noted with; each step takes a second."""
    noted: list[float | None] = []

    class Noting(Steps):
        def ended(self, num_sequences: int, step_s: float | None) -> None:
            noted.append(step_s)
            super().ended(num_sequences, step_s)

    clock = iter(range(1000))
    monkeypatch.setattr(draft_length, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(draft_length, "Steps", Noting)
    return noted


def test_upstream_has_no_schedule_with_data_parallelism() -> None:
    """Its schedule is dropped, and k is fixed."""
    speculation = SimpleNamespace(
        num_speculative_tokens=MOST,
        num_speculative_tokens_per_batch_size=[(1, 4, 3), (5, 9, 0)],
        uses_dynamic_speculative_decoding=lambda: True,
    )
    given: Any = SimpleNamespace(
        speculative_config=speculation, parallel_config=SimpleNamespace(data_parallel_size=2)
    )
    VllmConfig._maybe_disable_dynamic_sd_for_data_parallel(given)
    assert speculation.num_speculative_tokens_per_batch_size is None


def test_k_changes_after_a_window_of_steps_that_decode() -> None:
    """Not within one, whatever the batch; steps that only read prompts are none."""
    under = Under(config())
    arriving = (0, 5, 0, 1, 0, 0)
    told = [step(under, num_new=num_new, num_decoding=0 if num_new == 5 else 2) for num_new in arriving]
    assert [one.num_spec_tokens_to_schedule for one in told] == [3, 3, 3, 3, 3, 0]
    assert under.verified_next == 0


def test_requests_that_read_on_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that is read in pieces is none that decodes, and by itself it ends no window."""
    under = Under(config())
    decided: list[float] = []
    monkeypatch.setattr(under._control, "decide", lambda window: decided.append(window.num_sequences))
    for _ in range(8):
        step(under, num_decoding=0, num_reading_on=1, prompt_tokens=1000)
    assert decided == []
    for _ in range(4):
        step(under, num_decoding=1, num_reading_on=3, prompt_tokens=3000)
    assert decided == [1]


@pytest.mark.parametrize("v2", [False, True])
def test_with_ranks_that_wait_for_each_other_all_is_drafted(v2: bool) -> None:
    """Workers propose the full number, and the next step verifies k of them."""
    under = Under(config(dp=2, v2=v2))
    for _ in range(4):
        step(under)
    assert step(under).num_spec_tokens_to_schedule == MOST
    assert under.verified_next == 0
    under.update_draft_token_ids(DraftTokenIds(["a", "b"], [[1, 2, 3], [4, 5]]))
    assert under.drafts == DraftTokenIds(["a", "b"], [[], []])


def test_on_gpus_the_head_proposes_k_but_one_at_least(timed: list[float | None]) -> None:
    """None would mean all to vLLM's warm-up. Of what comes back, what was proposed and is wanted is kept."""
    under = Under(config(v2=True))
    assert [step(under).num_spec_tokens_to_schedule for _ in range(6)] == [3, 3, 3, 3, 1, 1]
    assert under.verified_next == 0
    assert timed == [1.0] * 6
    for k, kept in ((0, []), (1, [1]), (3, [1])):
        under.hold(k)
        under.update_draft_token_ids(DraftTokenIds(["a"], [[1, 2, 3]]))
        assert under.drafts == DraftTokenIds(["a"], [kept])


def test_alone_the_head_proposes_k_and_all_is_verified() -> None:
    """What comes from the workers is passed on."""
    under = Under(config())
    drafts = DraftTokenIds(["a"], [[1, 2, 3]])
    under.update_draft_token_ids(drafts)
    assert under.drafts is drafts


def test_only_steps_that_do_nothing_else_are_timed(timed: list[float | None]) -> None:
    """Not those with a new request or a piece of a prompt, nor the first one after k has changed."""
    under = Under(config())
    step(under)
    step(under, num_new=1, prompt_tokens=9)
    step(under, prompt_tokens=7)
    step(under)
    k_before, under._control.draft_tokens = under._control.draft_tokens, 3
    assert k_before == 0
    late = SimpleNamespace(
        num_scheduled_tokens={0: 4},
        total_num_scheduled_tokens=4,
        scheduled_new_reqs=[],
        scheduled_cached_reqs=SimpleNamespace(num_output_tokens=[9]),
        num_spec_tokens_to_schedule=0,
    )
    under.update_from_output(late, None)
    assert timed == [1.0, None, None, 1.0, None]


def test_what_a_grammar_rules_out_was_not_proposed() -> None:
    """Of three draft tokens two were ruled out, and the one that is left was accepted."""
    under = Under(config())
    assert under.make_spec_decoding_stats(None, 3, 1, {"a": 2}, "a") == (None, 3, 1, {"a": 2}, "a")
    under._steps.ended(1, None)
    window = under._steps.window(3)
    assert (window.tried, window.accepted) == ((1, 0, 0), (1, 0, 0))


@pytest.mark.parametrize(("asynchronous", "kind"), [(False, Scheduler), (True, AsyncScheduler)])
def test_the_scheduler_is_vllms_own(
    monkeypatch: pytest.MonkeyPatch, asynchronous: bool, kind: type[Any]
) -> None:
    """Of the kind that the configuration asks for, built with vLLM's arguments."""
    built: dict[str, Any] = {}

    def build(self: Any, **arguments: Any) -> None:
        built.update(arguments)
        self.vllm_config, self.num_spec_tokens = arguments["vllm_config"], MOST

    monkeypatch.setattr(Scheduler, "__init__", build)
    monkeypatch.setattr(AsyncScheduler, "__init__", build)
    given = config(asynchronous=asynchronous)
    made = scheduler(vllm_config=given, block_size=16)
    assert isinstance(made, kind)
    assert isinstance(made, AsyncScheduler) is asynchronous
    assert built == {"vllm_config": given, "block_size": 16}
    assert made.dynamic_sd_lookup[17] == MOST
