"""Which sampling parameters may reach an engine, on a GPU and with a draft head?

Reason: on a GPU vLLM's model runner V2 keeps a request's lists in tables of fixed width, and finds out that
one is longer inside a step, where it ends the engine for everybody. And it applies `logit_bias`, `min_p` and
`allowed_token_ids` to every draft token that it verifies, but vLLM's front refuses the first two with any
draft head, since runner V1 would not; the third V1 passes over in silence.
Upstream symptoms (vLLM 0.29.0): `ValueError: Too many logit bias tokens: 1025. The max size is 1024.` in the
engine's process, which ends; "The min_p and logit_bias sampling parameters are not yet supported with
speculative decoding."
No longer needed when: `InputProcessor.process_inputs` refuses a `logit_bias` of 1025 tokens, and takes one of
two where model runner V2 speculates.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from vllm import envs
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.input_processor import InputProcessor

_refuse_upstream: Callable[[SamplingParams, Any], None] = SamplingParams._validate_spec_decode
_process_upstream: Callable[..., Any] = InputProcessor.process_inputs


def process_inputs(self: InputProcessor, *args: Any, **kwargs: Any) -> Any:
    """Make vLLM's request as upstream does; VLLMValidationError for one that its engine could not take."""
    request = _process_upstream(self, *args, **kwargs)
    if request.sampling_params is not None:
        check(request.sampling_params, self.speculative_config, is_v2=_is_v2(self))
    return request


def check(params: SamplingParams, speculation: Any, *, is_v2: bool) -> None:
    """Raise VLLMValidationError if an engine of this model runner does not take the parameters."""
    if is_v2:
        for field, entries, most in sizes(params):
            if entries > most:
                raise VLLMValidationError(
                    f"{field} comes to {entries} tokens, and the engine takes {most} at most", parameter=field
                )
    elif speculation is not None:
        _refuse_upstream(params, speculation)
        if params.allowed_token_ids:
            raise VLLMValidationError(
                "allowed_token_ids is not honoured while draft tokens are verified on this device",
                parameter="allowed_token_ids",
            )


def sizes(params: SamplingParams) -> Iterator[tuple[str, int, int]]:
    """Yield each list that runner V2 has a table for: its field, its tokens, and how many the table takes."""
    from vllm.v1.worker.gpu.sample import logit_bias

    yield "allowed_token_ids", len(params.allowed_token_ids or ()), logit_bias.MAX_NUM_ALLOWED_TOKEN_IDS
    yield "logit_bias", len(params.logit_bias or ()), logit_bias.MAX_NUM_LOGIT_BIAS_TOKENS
    # Until an answer may end, what ends it is forbidden: the model's own end is among that.
    if params.min_tokens > 0:
        yield "stop_token_ids", len(params.all_stop_token_ids), logit_bias.MAX_NUM_STOP_TOKEN_IDS
    words = params.bad_words_token_ids or ()
    yield "bad_words", sum(map(len, words)), envs.VLLM_MAX_BAD_WORDS_TOTAL_TOKENS


@lru_cache(maxsize=8)
def _is_v2(processor: InputProcessor) -> bool:
    """Whether its engine has model runner V2; vLLM looks through all installed packages to say so."""
    return bool(processor.vllm_config.use_v2_model_runner)


def in_effect() -> bool:
    """Whether requests are made by our function."""
    return bool(InputProcessor.process_inputs is process_inputs)


def install() -> None:
    """Check requests where vLLM makes them, and leave to that check what vLLM refuses beforehand."""
    if not in_effect():
        SamplingParams._validate_spec_decode = lambda self, speculation: None
        InputProcessor.process_inputs = process_inputs
