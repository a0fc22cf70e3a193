"""Do the parameters that programs send do what each dialect says of them, whole and streamed?"""

from typing import Any

import anthropic
import openai
import pytest

from tests.e2e.asked import SUM

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

ASK: list[Any] = [{"role": "user", "content": SUM}]
RAW = "17 + 25 ="
EFFORTS = ("none", "high")
MARKS = ("[THINK]", "[/THINK]", "</s>")
LOGPROBS = ["message.output_text.logprobs"]


@pytest.mark.parametrize("effort", EFFORTS)
def test_several_answers(chat: Any, model: str, effort: str) -> None:
    """`n` answers have indices, each streamed to its own end, and the usage counts all of them."""
    # Greedy answers would all be the same: vLLM gives one.
    asked = {
        "model": model,
        "messages": ASK,
        "n": 2,
        "temperature": 0.1,
        "seed": 1,
        "reasoning_effort": effort,
    }
    whole = chat.create(**asked)
    said = {choice.index: choice.message.content for choice in whole.choices}
    assert said == {0: "42", 1: "42"}
    streamed: dict[int, str] = {0: "", 1: ""}
    ends: list[int] = []
    usage = None
    for chunk in chat.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            assert choice.index not in ends
            streamed[choice.index] += choice.delta.content or ""
            ends += [choice.index] if choice.finish_reason else []
    assert streamed == said
    assert sorted(ends) == [0, 1]
    assert usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_several_completions(client: openai.OpenAI, model: str) -> None:
    """The same for raw prompts."""
    asked: dict[str, Any] = {"model": model, "prompt": RAW, "n": 2, "temperature": 0.1, "max_tokens": 4}
    whole = client.completions.create(**asked)
    assert [choice.index for choice in whole.choices] == [0, 1]
    streamed = {0: "", 1: ""}
    for chunk in client.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert all(streamed.values())


@pytest.mark.parametrize("effort", EFFORTS)
def test_usage_of_a_chat(chat: Any, model: str, effort: str) -> None:
    """A stream tells its usage where it is asked for, in a last chunk without choices, and nowhere else."""
    asked = {"model": model, "messages": ASK, "temperature": 0, "reasoning_effort": effort}
    whole = chat.create(**asked).usage
    assert (whole.completion_tokens_details.reasoning_tokens > 0) == (effort == "high")
    *chunks, last = chat.create(**asked, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage == whole.model_copy(update={"prompt_tokens_details": last.usage.prompt_tokens_details})
    assert {chunk.usage for chunk in chunks} == {None}
    assert {chunk.usage for chunk in chat.create(**asked, stream=True)} == {None}


def test_usage_of_other_streams(client: openai.OpenAI, claude: anthropic.Anthropic, model: str) -> None:
    """Completions tell it as chat does; the others always, in their last events."""
    asked: dict[str, Any] = {"model": model, "temperature": 0}
    completion = {**asked, "prompt": RAW, "max_tokens": 4}
    *chunks, last = client.completions.create(
        **completion, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert last.usage == client.completions.create(**completion).usage
    assert {chunk.usage for chunk in chunks} == {None}
    responses: Any = client.responses
    *_, completed = responses.create(**asked, input=SUM, stream=True)
    whole = responses.create(**asked, input=SUM)
    assert completed.response.usage.output_tokens == whole.usage.output_tokens > 0
    messages: Any = claude.messages
    message = {"model": model, "messages": ASK, "max_tokens": 64, "extra_body": {"temperature": 0}}
    with messages.stream(**message) as stream:
        assert (
            stream.get_final_message().usage.output_tokens == messages.create(**message).usage.output_tokens
        )


@pytest.mark.parametrize("effort", EFFORTS)
def test_logprobs_of_a_chat(chat: Any, model: str, effort: str) -> None:
    """Each token of the answer has its own, and as many others as asked for; streamed they are the same.

    A stream leaves out those of marks that are no text.
    """

    def texts(tokens: list[Any]) -> list[str]:
        return [token.token for token in tokens if token.token not in MARKS]

    asked = {
        "model": model,
        "messages": ASK,
        "temperature": 0,
        "reasoning_effort": effort,
        "logprobs": True,
        "top_logprobs": 2,
    }
    whole = chat.create(**asked).choices[0].logprobs.content
    assert "".join(texts(whole)) == ("42" if effort == "none" else "17 + 25 = 4242")
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in whole)
    streamed = [
        token
        for chunk in chat.create(**asked, stream=True)
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert texts(streamed) == texts(whole)


def test_logprobs_elsewhere(client: openai.OpenAI, model: str) -> None:
    """Completions and responses have theirs in their own places."""
    completion = client.completions.create(model=model, prompt=RAW, logprobs=2, temperature=0, max_tokens=4)
    choice = completion.choices[0]
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or ()) == choice.text
    assert {len(top) for top in choice.logprobs.top_logprobs or ()} == {2}
    responses: Any = client.responses
    answer = responses.create(model=model, input=SUM, include=LOGPROBS, top_logprobs=2, temperature=0)
    [part] = answer.output[0].content
    assert "".join(token.token for token in part.logprobs).removesuffix("</s>") == part.text == "42"
    assert {len(token.top_logprobs) for token in part.logprobs} == {2}


@pytest.mark.parametrize("stream", [False, True])
def test_stops(client: openai.OpenAI, claude: anthropic.Anthropic, model: str, stream: bool) -> None:
    """Any of several texts ends an answer, and is not in it; messages say which one it was."""
    asked: dict[str, Any] = {"model": model, "temperature": 0, "stream": stream}
    said = client.chat.completions.create(**asked, messages=ASK, stop=["Z", "2"])
    choices = [choice for chunk in (said if stream else [said]) for choice in chunk.choices]
    texts = [(choice.delta if stream else choice.message).content or "" for choice in choices]
    assert ("".join(texts), choices[-1].finish_reason) == ("4", "stop")
    done = client.completions.create(**asked, prompt=RAW, stop=["Z", "2"], max_tokens=8)
    choices = [choice for chunk in (done if stream else [done]) for choice in chunk.choices]
    assert "2" not in "".join(choice.text for choice in choices)
    assert choices[-1].finish_reason == "stop"
    if not stream:
        messages: Any = claude.messages
        message = messages.create(
            model=model,
            messages=ASK,
            stop_sequences=["Z", "2"],
            max_tokens=64,
            extra_body={"temperature": 0},
        )
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "2")
        assert message.content[0].text == "4"


def test_a_seed(chat: Any, model: str) -> None:
    """Hot as it may be, one seed gives one answer, and others give others."""

    def said(seed: int) -> str:
        answer = chat.create(
            model=model,
            messages=[{"role": "user", "content": "Name three rivers of France."}],
            temperature=1.9,
            seed=seed,
            max_tokens=24,
        )
        return str(answer.choices[0].message.content)

    assert said(5) == said(5)
    assert len({said(seed) for seed in range(4)}) > 1
