"""Do the metrics say what is in force and what it is worth, from nothing but vLLM's counts of each step?"""

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from vllm.v1.spec_decode.metrics import SpecDecodingStats

from parallel.vllm_plugin import draft_metrics
from parallel.vllm_plugin.draft_metrics import DraftMetrics

MOST = 2


def config(predicted_s: Any = None) -> Any:
    """An engine's configuration, as far as it matters here."""
    given = {"adapt": {"window_steps": 8}, "predicted_s": predicted_s}
    return SimpleNamespace(
        additional_config={"draft_length": given},
        speculative_config=SimpleNamespace(num_speculative_tokens=MOST),
    )


class Watched:
    """A logger whose clock the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, engine: int, vllm_config: Any) -> None:
        self.now_s = 0.0
        monkeypatch.setattr(draft_metrics, "perf_counter", lambda: self.now_s)
        self.engine = engine
        self.logger = DraftMetrics(vllm_config, engine)

    def steps(self, num: int, seconds: float, k: int, accepted: int = 0, prompt_tokens: int = 0) -> None:
        """So many steps of two sequences."""
        for _ in range(num):
            self.now_s += seconds
            drafts = SpecDecodingStats.new(MOST)
            for _ in range(2):
                drafts.observe_draft(k, accepted)
            self.logger.record(
                SimpleNamespace(spec_decoding_stats=drafts if k else None, num_running_reqs=2),
                SimpleNamespace(num_prompt_tokens=prompt_tokens),
            )

    def value(self, name: str, **labels: str) -> float | None:
        """One series of this engine."""
        return REGISTRY.get_sample_value(name, {"engine": str(self.engine), **labels})


def test_steps_are_counted_by_k(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those without drafts as well, which vLLM's own counters do not have."""
    watched = Watched(monkeypatch, 101, config())
    watched.steps(12, 1.0, k=2, accepted=1)
    watched.steps(9, 1.0, k=0)
    assert watched.value("venturi_verify_steps_total", draft_tokens="2") == 12
    assert watched.value("venturi_verify_steps_total", draft_tokens="0") == 8
    assert watched.value("venturi_draft_tokens") == 0


def test_acceptance_by_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """All drafts keep their first token, and none the second."""
    watched = Watched(monkeypatch, 102, config())
    watched.steps(80, 1.0, k=2, accepted=1)
    assert watched.value("venturi_draft_acceptance", position="1") == pytest.approx(1, abs=0.02)
    assert watched.value("venturi_draft_acceptance", position="2") == pytest.approx(0, abs=0.05)


def test_predicted_against_measured_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokens a step of twice the time gain nothing, whatever the cost model says."""
    watched = Watched(monkeypatch, 103, config([[1.0, 1.25, 1.25]]))
    for _ in range(12):
        watched.steps(8, 2.0, k=2, accepted=1)
        watched.steps(8, 1.0, k=0)
    watched.steps(9, 2.0, k=2, accepted=1)
    assert watched.value("venturi_draft_gain", step_times="measured") == pytest.approx(1.0, abs=0.05)
    assert watched.value("venturi_draft_gain", step_times="predicted") == pytest.approx(1.6, abs=0.05)


def test_without_a_known_device_nothing_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a measured gain only; and steps that read prompts are no measure of anything."""
    watched = Watched(monkeypatch, 104, config())
    watched.steps(8, 1.0, k=2, accepted=1)
    watched.steps(8, 100.0, k=2, accepted=1, prompt_tokens=5)
    watched.steps(8, 1.0, k=0)
    watched.steps(8, 1.0, k=2)
    assert watched.value("venturi_draft_gain", step_times="predicted") is None
    assert 1 < (watched.value("venturi_draft_gain", step_times="measured") or 0) < 2


def test_an_engine_whose_k_is_fixed_has_none() -> None:
    """Nothing is recorded for it."""
    logger = DraftMetrics(SimpleNamespace(additional_config={}), 105)
    logger.record(SimpleNamespace(spec_decoding_stats=None), SimpleNamespace(num_prompt_tokens=0))
    logger.log_engine_initialized()
    assert REGISTRY.get_sample_value("venturi_draft_tokens", {"engine": "105"}) is None


def test_vllm_finds_it() -> None:
    """Through its entry point."""
    from vllm.v1.metrics.loggers import load_stat_logger_plugin_factories

    assert DraftMetrics in load_stat_logger_plugin_factories()
