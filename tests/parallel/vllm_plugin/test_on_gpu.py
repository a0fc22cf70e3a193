"""What only a GPU shows of an engine that drafts: vLLM's model runner V2, and a target with a vision tower.

    python -m pytest tests/parallel/vllm_plugin/test_on_gpu.py

Skipped without a GPU. The pocket model answers in BF16, from CUDA graphs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from parallel.vllm_plugin import DRAFT_LENGTH, DRAFT_LENGTH_SCHEDULER

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]

NUM_TOKENS = 24
DIGITS = [1000 + digit for digit in b"0123456789"]
"""Tokens that are a byte follow the control tokens."""
SUMS = ((17, 25), (3, 4), (88, 11), (45, 45), (9, 71), (60, 2), (5, 5), (31, 13))

SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "banned": {"logit_bias": dict.fromkeys(DIGITS[:5], -100.0)},
    "forced": {"logit_bias": {DIGITS[7]: 100.0}},
    "allowed": {"allowed_token_ids": DIGITS[5:]},
    "only the best": {"temperature": 1.0, "min_p": 1.0, "seed": 3},
}
TOO_LONG: dict[str, dict[str, Any]] = {
    "logit_bias": {"logit_bias": dict.fromkeys(range(1000, 2025), 1.0)},
    "allowed_token_ids": {"allowed_token_ids": list(range(1000, 2025))},
    "stop_token_ids": {"min_tokens": 2, "stop_token_ids": list(range(1000, 1128))},
}


ADAPTING_WAVES = 6


@pytest.fixture(scope="module")
def prompts(checkpoint: Path) -> list[list[int]]:
    """The sums, as tokens."""
    chat = MistralTokenizer.from_file(str(checkpoint / "target" / "tekken.json")).encode_chat_completion
    return [
        chat(ChatCompletionRequest(messages=[UserMessage(content=f"What is {a} + {b}?")])).tokens
        for a, b in SUMS
    ]


def wave(prompts: list[list[int]], sampling: dict[str, Any]) -> list[Any]:
    """All sums, asked at once."""
    given = {"ignore_eos": False} | sampling
    return [{"prompt": prompt, "num_tokens": NUM_TOKENS, "sampling": given} for prompt in prompts]


@pytest.fixture(scope="module")
def start(engine: Callable[..., Any], draft_head: dict[str, Any]) -> Callable[..., Any]:
    """Call with waves, whether there is a draft head, and further engine arguments; gives the answers."""

    def answers(waves: list[Any], *, drafts: bool, **more: Any) -> Any:
        return engine(
            waves,
            "spawn",
            dtype="bfloat16",
            enforce_eager=False,
            attention_backend="FLASH_ATTN_MLA",
            mm_encoder_attn_backend="TORCH_SDPA",
            moe_backend="triton",
            gpu_memory_utilization=0.2,
            **({"speculative_config": draft_head} if drafts else {}),
            **more,
        )

    return answers


@pytest.fixture(scope="module")
def found(start: Callable[..., Any], prompts: list[list[int]]) -> Callable[[bool], Any]:
    """Call with whether there is a draft head; gives the answers to all settings, after requests too long."""
    asked = [wave(prompts, sampling) for sampling in (*TOO_LONG.values(), *SETTINGS.values())]
    return {drafts: start(asked, drafts=drafts) for drafts in (False, True)}.__getitem__


def under(setting: str) -> int:
    """The wave of all sums under a setting."""
    return len(TOO_LONG) + list(SETTINGS).index(setting)


def tokens(answers: Any, setting: str) -> list[list[int]]:
    """The answers to all sums under a setting."""
    return [answer["tokens"] for answer in answers["waves"][under(setting)]]


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_hold_beside_drafts(found: Callable[[bool], Any], setting: str) -> None:
    """Each token is the one that comes without drafts."""
    assert tokens(found(True), setting) == tokens(found(False), setting)
    assert all(tokens(found(True), setting))


def test_settings_hold(found: Callable[[bool], Any]) -> None:
    """What is banned does not come, what is forced comes alone, nothing comes that is not allowed."""
    for drafts in (False, True):
        answers = found(drafts)
        assert not set(DIGITS[:5]) & {token for answer in tokens(answers, "banned") for token in answer}
        assert {token for answer in tokens(answers, "forced") for token in answer} == {DIGITS[7]}
        assert {token for answer in tokens(answers, "allowed") for token in answer} <= set(DIGITS[5:])
        assert tokens(answers, "only the best") == tokens(answers, "none")


def test_drafts_are_accepted(found: Callable[[bool], Any]) -> None:
    """Otherwise the others would show nothing. The head does not know of settings that change the tokens."""
    counters = found(True)["counters"][under("none")]
    assert (
        counters["vllm:spec_decode_num_accepted_tokens"] > 0.2 * counters["vllm:spec_decode_num_draft_tokens"]
    )


@pytest.mark.parametrize("drafts", [False, True])
@pytest.mark.parametrize("field", TOO_LONG)
def test_a_list_that_is_too_long_is_refused(found: Callable[[bool], Any], drafts: bool, field: str) -> None:
    """By its name; the engine answered all that came afterwards."""
    answered = found(drafts)["waves"][list(TOO_LONG).index(field)]
    assert all(field in answer["refused"] for answer in answered)


def test_any_number_of_drafts_gives_the_same_answers(
    start: Callable[..., Any], found: Callable[[bool], Any], prompts: list[list[int]]
) -> None:
    """An engine that decides anew how many are verified starts, with whole graphs of each number."""
    adapting = start(
        [wave(prompts, {})] * ADAPTING_WAVES,
        drafts=True,
        scheduler_cls=DRAFT_LENGTH_SCHEDULER,
        additional_config={DRAFT_LENGTH: {"adapt": {"window_steps": 2, "explore": 0.5}}},
    )
    assert "draft_graphs" in adapting["needed"]
    for answered in adapting["waves"]:
        assert [answer["tokens"] for answer in answered] == tokens(found(False), "none")
    used = {k for of_wave in adapting["verify_steps"] for k, steps in of_wave.items() if steps}
    assert len(used) > 1


@pytest.mark.parametrize("drafts", [False, True])
def test_experts_are_counted(found: Callable[[bool], Any], drafts: bool) -> None:
    """Each layer counts as many choices: those of the same tokens, padding left out."""
    for chosen in found(drafts)["chosen"][len(TOO_LONG) :]:
        in_layers = {sum(layer) for layer in chosen}
        assert len(in_layers) == 1
        assert min(in_layers) > 0
