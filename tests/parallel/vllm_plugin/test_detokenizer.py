"""Does an answer's text come out as vLLM writes it, piece by piece, with less work?"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vllm.sampling_params import SamplingParams
from vllm.v1.engine import detokenizer as upstream
from vllm.v1.engine.detokenizer import IncrementalDetokenizer

from parallel.vllm_plugin import detokenizer
from parallel.vllm_plugin.detokenizer import LookupDetokenizer

ShippedDetokenizer: Any = LookupDetokenizer.__base__
TEXT = "Two naïve cafés: 6 × 7 = 42 ☃, 三つの質問, 👩‍👩‍👧 and a\nnew line. "
NUM_CONTROL_TOKENS, NUM_BYTES = 1000, 256
"""Ids begin with the control tokens, then come those of single bytes."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix in place on top of vLLM's own class, whatever ran before."""
    monkeypatch.setattr(upstream, "SlowIncrementalDetokenizer", ShippedDetokenizer)
    assert not detokenizer.in_effect()
    detokenizer.install()
    assert detokenizer.in_effect()


def request(prompt: list[int], **sampling: Any) -> Any:
    """As much of a request as a detokenizer reads."""
    return SimpleNamespace(
        request_id="1",
        prompt_token_ids=prompt,
        prompt_embeds=None,
        sampling_params=SamplingParams(**sampling),
    )


@dataclass(frozen=True)
class Answer:
    """One answer: the prompt's tokens, the answer's by step, and what the request asks for."""

    prompt: list[int]
    steps: list[list[int]]
    ended_by_token: bool
    sampling: dict[str, Any]

    def through(self, decoder: Any) -> list[Any]:
        """All that a decoder says of it: stop strings, texts to be sent and counts, step by step."""
        said: list[Any] = []
        for number, tokens in enumerate(self.steps, start=1):
            is_last = number == len(self.steps)
            stop = decoder.update(tokens, is_last and self.ended_by_token)
            finished = is_last or stop is not None
            text = decoder.get_next_output_text(finished, delta=True)
            said.append((stop, text, decoder.num_output_tokens()))
            if finished:
                break
        return [*said, decoder.output_text, decoder.output_token_ids]


def tokens(tokenizer: Any, *, of_prompt: bool) -> st.SearchStrategy[int]:
    """Any id, and more often bytes of characters, control tokens, and ids that there are not."""
    markers = ("[THINK]", "[/THINK]", "[TOOL_CALLS]", "[ARGS]", "</s>", "<s>", "[INST]")
    kinds = [
        st.integers(0, len(tokenizer) - 1),
        st.integers(NUM_CONTROL_TOKENS, NUM_CONTROL_TOKENS + NUM_BYTES - 1),
        st.sampled_from([tokenizer.get_vocab()[name] for name in markers]),
        st.sampled_from(tokenizer.encode(TEXT, add_special_tokens=False)),
    ]
    if not of_prompt:
        kinds.append(st.sampled_from([-1, len(tokenizer), 10**6]))
    return st.one_of(kinds)


@st.composite
def answers(draw: st.DrawFn, tokenizer: Any) -> Answer:
    """Answers of up to 40 steps, of one token each or several."""
    token = tokens(tokenizer, of_prompt=False)
    steps = draw(st.lists(st.lists(token, min_size=1, max_size=4), min_size=1, max_size=40))
    stop = draw(st.lists(st.sampled_from(["e", " a", "é", "\ufffd", "[/THINK]", "42 ", "👧"]), max_size=2))
    return Answer(
        draw(st.lists(tokens(tokenizer, of_prompt=True), min_size=1, max_size=12)),
        steps,
        draw(st.booleans()),
        {
            "skip_special_tokens": draw(st.booleans()),
            "stop": stop,
            "min_tokens": draw(st.integers(0, 5)),
            "include_stop_str_in_output": draw(st.booleans()),
        },
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_answer_comes_out_as_vllm_writes_it(tokenizer: Any, data: st.DataObject) -> None:
    """The same stop strings, pieces, counts and end, whatever the tokens are and the request asks for."""
    answer = data.draw(answers(tokenizer))
    asked = request(answer.prompt, **answer.sampling)
    wanted = answer.through(ShippedDetokenizer(tokenizer, asked))
    assert answer.through(LookupDetokenizer(tokenizer, asked)) == wanted


@pytest.mark.parametrize("skip", [True, False], ids=["control tokens left out", "and kept"])
def test_every_token_comes_out_as_vllm_writes_it(tokenizer: Any, skip: bool) -> None:
    """One answer of the whole vocabulary, a letter after each token."""
    [letter] = tokenizer.encode("x", add_special_tokens=False)
    steps = [[token, letter] for token in range(len(tokenizer))]
    for first in range(0, len(steps), 256):  # vLLM's own gets slow in a long answer
        answer = Answer([letter], steps[first : first + 256], False, {"skip_special_tokens": skip})
        asked = request(answer.prompt, **answer.sampling)
        wanted = answer.through(ShippedDetokenizer(tokenizer, asked))
        assert answer.through(LookupDetokenizer(tokenizer, asked)) == wanted


def test_text_comes_back(tokenizer: Any) -> None:
    """What was encoded is decoded, characters of several tokens too."""
    decoder = LookupDetokenizer(tokenizer, request([1]))
    decoder.update(tokenizer.encode(TEXT * 3, add_special_tokens=False), False)
    assert decoder.get_next_output_text(finished=True, delta=True) == TEXT * 3


def num_decodings(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often vLLM decodes tokens for an answer of 100 that are plain words."""
    words = tokenizer.encode(" and so on" * 50, add_special_tokens=False)[:100]
    calls: list[Any] = []
    decode = tokenizer.convert_tokens_to_string

    def counted(given: Any) -> Any:
        calls.append(given)
        return decode(given)

    with monkeypatch.context() as patched:
        patched.setattr(tokenizer, "convert_tokens_to_string", counted)
        decoder = IncrementalDetokenizer.from_new_request(tokenizer, request([1]))
        decoder.update(words, False)
    assert decoder.num_output_tokens() == 100
    return len(calls)


def test_upstream_decodes_twice_for_every_token(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is still there: as soon as it is not, the fix can go."""
    monkeypatch.setattr(upstream, "SlowIncrementalDetokenizer", ShippedDetokenizer)
    assert num_decodings(tokenizer, monkeypatch) == 200


@pytest.mark.usefixtures("installed")
def test_plain_tokens_are_not_decoded(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fix they are looked up."""
    assert num_decodings(tokenizer, monkeypatch) == 0


def test_what_is_kept_does_not_grow_with_the_answer(tokenizer: Any) -> None:
    """A late token costs what an early one does."""
    words = tokenizer.encode(TEXT * 20, add_special_tokens=False)
    decoder = LookupDetokenizer(tokenizer, request([1]))
    decoder.update(words, False)
    assert len(words) > 500
    assert len(decoder.tokens) < 20


def test_requests_share_the_table(tokenizer: Any) -> None:
    """It is filled once in a process."""
    first, second = (LookupDetokenizer(tokenizer, request([1])) for _ in range(2))
    assert first._pieces is second._pieces


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("is_tekken", "kind"), [(True, LookupDetokenizer), (False, ShippedDetokenizer)])
def test_other_tokenizers_keep_vllms(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, is_tekken: bool, kind: type
) -> None:
    """One over SentencePiece, whose tokens' texts depend on their neighbours."""
    monkeypatch.setattr(tokenizer, "is_tekken", is_tekken)
    monkeypatch.setattr(tokenizer, "convert_ids_to_tokens", lambda ids, skip_special_tokens: ["a"])
    assert type(IncrementalDetokenizer.from_new_request(tokenizer, request([1]))) is kind
