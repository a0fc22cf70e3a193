"""Which sampling parameters does vLLM get to see, by its model runner and with a draft head?"""

from types import SimpleNamespace
from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.input_processor import InputProcessor

from parallel.vllm_plugin import sampling_gpu

EAGLE = SimpleNamespace(method="eagle")
BIAS = {5: 1.0, 6: -100.0}


def params(**given: Any) -> SamplingParams:
    """Sampling parameters as the engine gets them: with the end of an answer among what stops it."""
    found = SamplingParams(**given)
    found.update_from_generation_config({}, eos_token_id=2)
    return found


def test_upstream_refuses_a_bias_with_any_draft_head() -> None:
    """The symptom: whatever runner will verify the drafts."""
    with pytest.raises(VLLMValidationError, match="not yet supported with speculative decoding"):
        sampling_gpu._refuse_upstream(params(logit_bias=BIAS), EAGLE)


def test_upstream_looks_at_lengths_inside_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The symptom: what refuses the list is the table that a step fills."""
    from vllm.v1.worker.gpu.sample.logit_bias import LogitBiasState

    table = SimpleNamespace(num_allowed_token_ids=SimpleNamespace(np=[0]))
    with pytest.raises(ValueError, match="Too many logit bias tokens: 1025"):
        LogitBiasState.add_request(table, 0, 4, params(logit_bias=dict.fromkeys(range(1025), 1.0)))


@pytest.mark.parametrize(
    "given", [{"logit_bias": BIAS}, {"min_p": 0.1}, {"allowed_token_ids": [5, 6]}, {"temperature": 0.5}]
)
def test_runner_v2_takes_them_while_it_speculates(given: dict[str, Any]) -> None:
    """Its sampler applies them to each draft token."""
    sampling_gpu.check(params(**given), EAGLE, is_v2=True)


@pytest.mark.parametrize("given", [{"logit_bias": BIAS}, {"min_p": 0.1}, {"allowed_token_ids": [5, 6]}])
def test_runner_v1_does_not(given: dict[str, Any]) -> None:
    """The first two as upstream says it, and what upstream passes over; without drafts all pass."""
    with pytest.raises(VLLMValidationError, match=next(iter(given))):
        sampling_gpu.check(params(**given), EAGLE, is_v2=False)
    sampling_gpu.check(params(**given), None, is_v2=False)


@pytest.mark.parametrize(
    ("field", "most", "given"),
    [
        ("logit_bias", 1024, lambda n: {"logit_bias": dict.fromkeys(range(n), 1.0)}),
        ("allowed_token_ids", 1024, lambda n: {"allowed_token_ids": list(range(n))}),
        ("stop_token_ids", 128, lambda n: {"min_tokens": 1, "stop_token_ids": list(range(10, n + 9))}),
    ],
)
def test_a_list_that_runner_v2_has_no_room_for_is_refused(field: str, most: int, given: Any) -> None:
    """By the front, with the field and both lengths; as many as fit pass, draft head or not."""
    sampling_gpu.check(params(**given(most)), None, is_v2=True)
    for speculation in (None, EAGLE):
        with pytest.raises(
            VLLMValidationError, match=f"{field} comes to {most + 1} tokens.* {most} "
        ) as error:
            sampling_gpu.check(params(**given(most + 1)), speculation, is_v2=True)
        assert error.value.parameter == field
    sampling_gpu.check(params(**given(most + 1)), None, is_v2=False)


def test_stop_tokens_count_only_while_an_answer_may_not_end() -> None:
    """The table is of what is forbidden until `min_tokens` are there."""
    sampling_gpu.check(params(stop_token_ids=list(range(10, 500))), None, is_v2=True)


def test_bad_words_count_by_their_tokens() -> None:
    """All of them together."""
    words = params()
    words._bad_words_token_ids = [[1] * 512, [2] * 512]
    sampling_gpu.check(words, None, is_v2=True)
    words._bad_words_token_ids.append([3])
    with pytest.raises(VLLMValidationError, match=r"bad_words comes to 1025 tokens.* 1024 "):
        sampling_gpu.check(words, None, is_v2=True)


def test_requests_are_checked_where_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed, it asks the configuration for the runner; pooling requests have no such parameters."""
    monkeypatch.setattr(InputProcessor, "process_inputs", sampling_gpu._process_upstream)
    monkeypatch.setattr(SamplingParams, "_validate_spec_decode", sampling_gpu._refuse_upstream)
    assert not sampling_gpu.in_effect()
    sampling_gpu.install()
    sampling_gpu.install()
    assert sampling_gpu.in_effect()
    made = SimpleNamespace(sampling_params=params(logit_bias=BIAS))
    monkeypatch.setattr(sampling_gpu, "_process_upstream", lambda self, request: request)
    for is_v2 in (True, False):
        processor = InputProcessor.__new__(InputProcessor)
        vars(processor).update(
            vllm_config=SimpleNamespace(use_v2_model_runner=is_v2), speculative_config=EAGLE
        )
        assert processor.process_inputs(SimpleNamespace(sampling_params=None)).sampling_params is None
        if is_v2:
            assert processor.process_inputs(made) is made
            continue
        with pytest.raises(VLLMValidationError):
            processor.process_inputs(made)
