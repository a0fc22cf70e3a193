"""Do clients of each dialect get what they ask for, from the pool that their effort names?"""

import json
from collections.abc import Mapping
from typing import Any

import anthropic
import httpx
import openai
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

MODEL = "mistral-small-4"
QUESTION: list[Any] = [{"role": "user", "content": "Name three rivers of France."}]
POOL_OF = {"none": "throughput", "high": "latency"}
GRAMMAR = {"grammar": "start: nothing"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=x)["}}}
"""vLLM finds out that it cannot have these only when the stream has begun."""


def served(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return pool and effort of an answer."""
    return headers["x-venturi-pool"], headers["x-venturi-effort"]


def rendered(http: httpx.Client, path: str, body: dict[str, Any]) -> str:
    """Return the prompt that the engine reads for a body of that route."""
    answer = http.post(path, json={"model": MODEL} | body)
    assert answer.status_code == 200, answer.text
    tokens = answer.json().get("tokens") or answer.json()["token_ids"]
    prompt: str = http.post("/detokenize", json={"model": MODEL, "tokens": tokens}).json()["prompt"]
    return prompt


@pytest.mark.parametrize("effort", ["none", "high"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/chat/completions/render", lambda e: {"reasoning_effort": e}),
        ("/v1/chat/completions/render", lambda e: {"chat_template_kwargs": {"reasoning_effort": e}}),
        ("/tokenize", lambda e: {"reasoning_effort": e}),
    ],
)
def test_the_model_is_told(http: httpx.Client, path: str, said: Any, effort: str) -> None:
    """The prompt that the engine reads has the effort in it."""
    prompt = rendered(http, path, {"messages": QUESTION, **said(effort)})
    assert f'"reasoning_effort": "{effort}"' in prompt


@pytest.mark.parametrize("path", ["/v1/chat/completions/render", "/tokenize"])
def test_a_developer_is_the_system(http: httpx.Client, path: str) -> None:
    """The model knows no turn of OpenAI's other name for it."""
    said = [{"role": "developer", "content": "Be brief."}, *QUESTION]
    assert "[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT]" in rendered(http, path, {"messages": said})


@pytest.mark.parametrize(
    ("said", "effort"),
    [
        ({}, "none"),
        ({"reasoning": {"effort": "low"}}, "none"),
        ({"reasoning": {"effort": "medium", "summary": "auto"}}, "high"),
    ],
)
def test_responses(client: openai.OpenAI, said: dict[str, Any], effort: str) -> None:
    """OpenAI's client gets a response, whole and streamed, from the pool that the effort means."""
    asked = {"model": MODEL, "input": "Name three rivers.", "max_output_tokens": 16, "temperature": 0} | said
    responses: Any = client.responses
    raw = responses.with_raw_response.create(**asked)
    assert served(raw.headers) == (POOL_OF[effort], effort)
    whole = raw.parse()
    assert whole.usage is not None
    assert whole.usage.output_tokens > 0
    assert {item.type for item in whole.output} <= {"message", "reasoning"}
    events = list(responses.create(**asked, stream=True))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = {"response.output_text.delta", "response.reasoning_text.delta"}
    streamed = "".join(event.delta for event in events if event.type in kinds)
    told = "".join(part.text for item in whole.output for part in item.content or ())
    assert streamed == told != ""


@pytest.mark.parametrize(
    ("said", "effort"),
    [
        ({}, "none"),
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "none"),
        ({"output_config": {"effort": "max"}}, "high"),
    ],
)
def test_messages(claude: anthropic.Anthropic, said: dict[str, Any], effort: str) -> None:
    """Anthropic's client gets a message, whole and streamed, from the pool that its thinking means."""
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": QUESTION,
        "max_tokens": 16,
        "system": "You are brief.",
        "extra_body": {"temperature": 0} | said,
    }
    raw = claude.messages.with_raw_response.create(**asked)
    assert served(raw.headers) == (POOL_OF[effort], effort)
    whole = raw.parse()
    assert whole.usage.output_tokens > 0
    assert {block.type for block in whole.content} <= {"text", "thinking"}
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    assert [_text(block) for block in streamed.content] == [_text(block) for block in whole.content]
    assert streamed.stop_reason == whole.stop_reason


def _text(block: Any) -> str:
    return str(getattr(block, "thinking", None) or getattr(block, "text", ""))


def test_messages_think(http: httpx.Client) -> None:
    """With thinking enabled the engine samples as at high effort in chat: token for token the same answer."""
    common = {"model": MODEL, "messages": QUESTION, "max_tokens": 24, "temperature": 0}

    def texts(thinking: dict[str, Any]) -> str:
        answer = http.post("/v1/messages", json=common | thinking)
        assert answer.status_code == 200, answer.text
        return "".join(_text_of(block) for block in answer.json()["content"])

    def chat(effort: str) -> str:
        answer = http.post("/v1/chat/completions", json=common | {"reasoning_effort": effort})
        message = answer.json()["choices"][0]["message"]
        return (message["reasoning"] or "") + (message["content"] or "")

    assert texts({"thinking": {"type": "enabled", "budget_tokens": 1024}}) == chat("high")
    assert texts({"thinking": {"type": "disabled"}}) == chat("none")
    assert chat("high") != chat("none")


def _text_of(block: dict[str, Any]) -> str:
    return str(block.get("thinking") or block.get("text") or "")


def test_tokens_are_counted(claude: anthropic.Anthropic, http: httpx.Client) -> None:
    """Both ways of counting agree, and the tokens read back as the text."""
    counted = claude.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens
    assert counted == http.post("/tokenize", json={"model": MODEL, "messages": QUESTION}).json()["count"]
    tokens = http.post("/tokenize", json={"prompt": "three rivers", "add_special_tokens": False}).json()
    assert http.post("/detokenize", json={"tokens": tokens["tokens"]}).json() == {"prompt": "three rivers"}


def test_what_is_no_token(http: httpx.Client) -> None:
    """An id past the vocabulary's end is the client's mistake, and names the field."""
    answer = http.post("/detokenize", json={"tokens": [5, 10**9]})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == "tokens"
    assert "1000000000 is not in the vocabulary" in answer.json()["error"]["message"]


def test_completions(client: openai.OpenAI) -> None:
    """A raw prompt is completed, whole and streamed."""
    asked: dict[str, Any] = {"model": MODEL, "prompt": "Rivers: ", "max_tokens": 8, "temperature": 0}
    raw = client.completions.with_raw_response.create(**asked)
    assert served(raw.headers) == ("throughput", "none")
    chunks = list(client.completions.create(**asked, stream=True))
    streamed = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert streamed == raw.parse().choices[0].text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"thinking": {"type": "enabled"}, "output_config": {"effort": "low"}}, "different efforts"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 100_000}, "100000"),
        ({"temperature": -1}, "temperature"),
        ({"top_k": -5}, "top_k"),
        ({"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "rammar"),
    ],
)
def test_bad_messages(http: httpx.Client, fields: dict[str, Any], word: str, stream: bool) -> None:
    """Anthropic's error shape, whoever finds the mistake."""
    asked = {"model": MODEL, "messages": QUESTION, "max_tokens": 8, "stream": stream}
    answer = http.post("/v1/messages", json=asked | fields)
    assert answer.status_code == 400, answer.text
    told = answer.json()
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")
    assert word in told["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"store": True}, "not stored"),
        ({"previous_response_id": "resp_1"}, "not stored"),
        ({"reasoning": {"effort": "huge"}}, "'medium'"),
        ({"tools": [{"type": "web_search"}]}, "no tools"),
        ({"temperature": -1}, "temperature"),
        ({"structured_outputs": GRAMMAR}, "rammar"),
    ],
)
def test_bad_responses(http: httpx.Client, fields: dict[str, Any], word: str, stream: bool) -> None:
    """OpenAI's error shape and a status, also when the stream had begun."""
    asked = {"model": MODEL, "input": "hi", "max_output_tokens": 8, "stream": stream}
    answer = http.post("/v1/responses", json=asked | fields)
    assert answer.status_code == 400, answer.text
    assert word in json.dumps(answer.json()["error"], ensure_ascii=False)


def test_anthropics_client_raises_its_own_error(claude: anthropic.Anthropic) -> None:
    """A model that is not served is Anthropic's NotFoundError, with the names that are."""
    with pytest.raises(anthropic.NotFoundError, match=MODEL):
        claude.messages.create(model="claude-9", messages=QUESTION, max_tokens=8)
