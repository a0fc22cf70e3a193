"""What a replica reports, worked out from vLLM's own statistics."""

from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.engine.stats import HALF_LIFE_S, EngineStats
from serve_app.types import ReplicaReport
from tests.serve_app.samples import Clock


def plain(_: int = 0) -> Any:
    """Return the part of vLLM's configuration that is looked at, without a draft head."""
    return SimpleNamespace(speculative_config=None)


def speculating(most: int) -> Any:
    """Return it with one."""
    return SimpleNamespace(speculative_config=SimpleNamespace(num_speculative_tokens=most))


def state(running: int, waiting: int = 0, kv_usage: float = 0.0, drafts: Any = None) -> Any:
    """Return vLLM's SchedulerStats."""
    from vllm.v1.metrics.stats import SchedulerStats

    return SchedulerStats(
        num_running_reqs=running,
        num_waiting_reqs=waiting,
        kv_cache_usage=kv_usage,
        spec_decoding_stats=drafts,
    )


def step(decoded: list[float], num_tokens: int, firsts: tuple[float, ...] = ()) -> Any:
    """Return vLLM's IterationStats: times since each sequence's last token, and times to first tokens."""
    from vllm.v1.metrics.stats import IterationStats

    stats = IterationStats()
    stats.inter_token_latencies_iter = decoded
    stats.num_generation_tokens = num_tokens
    stats.time_to_first_tokens_iter = list(firsts)
    return stats


def drafts(most: int, *steps: tuple[int, int]) -> Any:
    """Return vLLM's SpecDecodingStats of (drafted, accepted) for each sequence."""
    from vllm.v1.spec_decode.metrics import SpecDecodingStats

    stats = SpecDecodingStats.new(most)
    for drafted, accepted in steps:
        stats.observe_draft(drafted, accepted)
    return stats


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves."""
    return Clock()


def test_before_anything() -> None:
    """An engine that has done nothing says nothing, but how many tokens it would draft."""
    stats = EngineStats()
    assert stats.report("r", 0, 0) == ReplicaReport("r")
    stats.logger(speculating(3))
    assert stats.report("r", 0, 0, True) == ReplicaReport("r", draft_tokens=3, is_draining=True)


def test_state_is_that_of_the_last_step(clock: Clock) -> None:
    """Running, waiting and cache are as of the last step; a replica without requests has none."""
    stats = EngineStats(clock)
    logger = stats.logger(plain())
    logger.record(state(1, 0, 0.1), None)
    logger.record(state(5, 2, 0.5), None)
    assert stats.report("r", 8, 900) == ReplicaReport(
        "r", 8, num_running=5, num_waiting=2, kv_usage=0.5, prefill_tokens=900
    )
    assert stats.report("r", 0, 0) == ReplicaReport("r")


def test_times(clock: Clock) -> None:
    """Times a token are over tokens that were decoded; the batch is the one that a token came from."""
    stats = EngineStats(clock)
    logger = stats.logger(plain())
    logger.record(state(3), step([0.02, 0.02], 3, (0.5,)))
    logger.record(state(4), step([0.03] * 4, 4))
    report = stats.report("r", 4, 0)
    assert report.per_token_s == pytest.approx((2 * 0.02 + 4 * 0.03) / 6)
    assert report.batch_size == pytest.approx((2 * 2 + 4 * 4) / 6)
    assert report.ttft_s == pytest.approx(0.5)


def test_finished_requests(clock: Clock) -> None:
    """Reading is known when a request has finished; what was cached was not read."""
    stats = EngineStats(clock)
    done = step([], 0)
    for num_cached in (0, 60):
        done.finished_requests.append(
            SimpleNamespace(
                prefill_time=0.2, num_prompt_tokens=100, num_cached_tokens=num_cached, num_generation_tokens=7
            )
        )
    stats.logger(plain()).record(state(0), done)
    report = stats.report("r", 1, 0)
    assert (report.prefill_s, report.prefill_mean_tokens, report.answer_tokens) == pytest.approx((0.2, 70, 7))


def test_what_is_long_ago_fades(clock: Clock) -> None:
    """After a half-life an old sample weighs half of a new one; alone, it is still what is known."""
    stats = EngineStats(clock)
    logger = stats.logger(plain())
    logger.record(state(1), step([0.01], 1))
    clock.now_s += HALF_LIFE_S
    assert stats.report("r", 1, 0).per_token_s == pytest.approx(0.01)
    logger.record(state(1), step([0.04], 1))
    assert stats.report("r", 1, 0).per_token_s == pytest.approx((0.01 + 2 * 0.04) / 3)


def test_what_is_very_long_ago_is_forgotten(clock: Clock) -> None:
    """Nobody is avoided for ever because of one slow answer."""
    stats = EngineStats(clock)
    stats.logger(plain()).record(state(1), step([9.0], 1))
    clock.now_s += 6 * HALF_LIFE_S
    assert stats.report("r", 1, 0).per_token_s == pytest.approx(9.0)
    clock.now_s += HALF_LIFE_S
    assert stats.report("r", 1, 0).per_token_s is None


def test_an_engine_that_stands(clock: Clock) -> None:
    """With something to do, and no step since, it stands; without, it is idle."""
    stats = EngineStats(clock)
    logger = stats.logger(plain())
    clock.now_s += 60
    assert stats.report("r", 0, 0).stalled_s == 0.0
    clock.now_s += 3
    assert stats.report("r", 1, 9).stalled_s == 3.0
    logger.record(state(1), None)
    clock.now_s += 1
    assert stats.report("r", 1, 0).stalled_s == 1.0


def test_speculation(clock: Clock) -> None:
    """Acceptance by position over what was drafted there; a step yields several tokens; k is as in force."""
    stats = EngineStats(clock)
    logger = stats.logger(speculating(3))
    logger.record(state(2, drafts=drafts(3, (3, 1), (3, 3))), step([0.06, 0.06], 6))
    report = stats.report("r", 2, 0)
    assert report.acceptance == pytest.approx((1.0, 0.5, 0.5))
    assert report.draft_tokens == 3
    assert report.acceptance_length == pytest.approx(3.0)
    assert report.per_token_s == pytest.approx(0.02)

    clock.now_s += 20 * HALF_LIFE_S
    logger.record(state(2, drafts=drafts(3, (1, 1), (1, 1))), step([0.03, 0.03], 4))
    report = stats.report("r", 2, 0)
    assert report.draft_tokens == 1
    assert report.acceptance == pytest.approx((1.0,)), "what is not drafted any more is forgotten"
    assert report.acceptance_length == pytest.approx(2.0)

    clock.now_s += 20 * HALF_LIFE_S
    logger.record(state(2), step([0.03, 0.03], 2))
    assert stats.report("r", 2, 0).draft_tokens == 0


def test_several_cores(clock: Clock) -> None:
    """Cores of one replica add up: requests, and the batch; the fullest cache counts."""
    stats = EngineStats(clock)
    first, second = stats.logger(plain()), stats.logger(plain(), 1)
    first.record(state(3, 1, 0.2), step([0.02] * 3, 3), engine_idx=0)
    second.record(state(1, 0, 0.6), step([0.02] * 3, 3), engine_idx=1)
    report = stats.report("r", 5, 0)
    assert (report.num_running, report.num_waiting, report.kv_usage) == (4, 1, 0.6)
    assert report.batch_size == pytest.approx(6)


def test_forgotten(clock: Clock) -> None:
    """After the readiness check nothing is left of its requests."""
    stats = EngineStats(clock)
    stats.logger(plain()).record(state(1), step([0.5], 1, (3.0,)))
    stats.forget()
    assert stats.report("r", 0, 0) == ReplicaReport("r")


def test_vllm_takes_the_logger(clock: Clock) -> None:
    """What vLLM calls is there, under its names."""
    from vllm.v1.metrics.loggers import PerEngineStatLoggerAdapter, StatLoggerBase

    stats = EngineStats(clock)
    adapter = PerEngineStatLoggerAdapter(plain(), [0], stats.logger)
    adapter.record(state(2), step([0.02], 1), mm_cache_stats=None, engine_idx=0)
    adapter.log_engine_initialized()
    adapter.log()
    assert stats.report("r", 1, 0).num_running == 2
    called = {name for name in vars(StatLoggerBase) if not name.startswith("_")}
    assert called <= set(dir(stats.logger(plain())))
