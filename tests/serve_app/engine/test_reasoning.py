"""The reasoning under both of its names, in whole answers and in events, whatever the text is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.engine.reasoning import apart, as_clients_read_it, under_both_names

TEXTS = [
    "plain",
    "",
    'says "hello"',
    'a quote at the end"',
    "a backslash \\ and two \\\\",
    "ends in a backslash\\",
    'looks like the key: "reasoning":"x"',
    '\\"reasoning\\":\\"x\\"',
    '"reasoning":null',
    "line\nbreak\ttab",
    "Größe 数 🙂",
]


def compact(value: object, *, ascii_only: bool = False) -> bytes:
    """Return JSON as vLLM writes it: without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def both(value: Any) -> Any:
    """Return `value` with reasoning_content beside every reasoning that is a text or null."""
    if isinstance(value, list):
        return [both(v) for v in value]
    if not isinstance(value, dict):
        return value
    tree = {k: both(v) for k, v in value.items()}
    if "reasoning" in tree and (tree["reasoning"] is None or isinstance(tree["reasoning"], str)):
        tree["reasoning_content"] = tree["reasoning"]
    return tree


def answer(reasoning: str | None, content: str | None) -> dict[str, Any]:
    """Return a chat completion."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "tool_calls": [],
        "reasoning": reasoning,
    }
    return {"choices": [{"index": 0, "message": message}], "usage": {"reasoning_tokens": 3}}


@pytest.mark.parametrize("content", [None, *TEXTS])
@pytest.mark.parametrize("reasoning", [None, *TEXTS])
def test_whole_answer(reasoning: str | None, content: str | None) -> None:
    """The field is repeated under its second name, null too, and nothing else changes."""
    given = answer(reasoning, content)
    assert json.loads(under_both_names(compact(given))) == both(given)


@pytest.mark.parametrize("reasoning", TEXTS)
def test_event(reasoning: str) -> None:
    """A server-sent event stays an event: one data line, then a blank one."""
    given = {"choices": [{"delta": {"reasoning": reasoning}}, {"delta": {"reasoning": "second"}}]}
    event = under_both_names(b"data: " + compact(given) + b"\n\n")
    line, blank, end = event.split(b"\n")
    assert (blank, end) == (b"", b"")
    assert json.loads(line.removeprefix(b"data: ")) == both(given)


@pytest.mark.parametrize(
    "body",
    [
        b"data: [DONE]\n\n",
        b": keep-alive\n\n",
        b'{"error":{"message":"reasoning: \\"none\\" or \\"high\\""}}',
        b'{"usage":{"reasoning_tokens":3}}',
        b'{"reasoning":{"effort":"high"}}',
        b'{"reasoning":"cut off',
        b"",
    ],
)
def test_what_has_no_reasoning_text_stays(body: bytes) -> None:
    """Bytes without the field, or with something else than a text in it, are untouched."""
    assert under_both_names(body) == body


@given(st.text(), st.text(), st.booleans())
def test_any_text(reasoning: str, content: str, ascii_only: bool) -> None:
    """For every text, the rewritten JSON is the JSON with the second name added."""
    given = answer(reasoning, content)
    try:
        body = compact(given, ascii_only=ascii_only)
    except UnicodeEncodeError:
        # A lone surrogate, which UTF-8 does not have: JSON can carry it only escaped.
        body = compact(given, ascii_only=True)
    assert json.loads(under_both_names(body)) == both(given)


@given(st.text(alphabet='"\\:reasoning{},nul', max_size=40), st.text(alphabet='"\\:', max_size=6))
def test_texts_made_of_json(reasoning: str, content: str) -> None:
    """Texts full of quotes, backslashes and the key itself do not confuse it."""
    given = answer(reasoning, content)
    assert json.loads(under_both_names(compact(given))) == both(given)


def test_vllms_own_messages() -> None:
    """A message and a delta, written the way vLLM's server writes them, carry both names."""
    from starlette.responses import JSONResponse
    from vllm.entrypoints.generate.base.protocol import DeltaMessage
    from vllm.entrypoints.openai.chat_completion.protocol import ChatMessage

    text = 'first "17", then \\ 25'
    message = ChatMessage(role="assistant", content="42", reasoning=text)
    written = bytes(JSONResponse(message.model_dump()).body)
    whole = json.loads(under_both_names(written))
    assert whole["reasoning"] == whole["reasoning_content"] == text
    delta = DeltaMessage(reasoning=text).model_dump_json(exclude_unset=True)
    event = under_both_names(f"data: {delta}\n\n".encode())
    streamed = json.loads(event.removeprefix(b"data: "))
    assert streamed["reasoning"] == streamed["reasoning_content"] == text


def chunk(**delta: Any) -> dict[str, Any]:
    """A chunk of a chat stream."""
    choice = {"index": 0, "delta": delta, "logprobs": {"content": []}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [choice], "usage": {"total_tokens": 3}}


def events(body: bytes) -> list[dict[str, Any]]:
    """The JSON of each event, all of which must be whole."""
    *whole, end = body.split(b"\n\n")
    assert end == b""
    return [json.loads(event.removeprefix(b"data: ")) for event in whole]


@pytest.mark.parametrize("other", [{"content": "42"}, {"tool_calls": [{"index": 0, "id": "a"}]}])
def test_reasoning_and_what_follows_come_apart(other: dict[str, Any]) -> None:
    """Two events: the reasoning, and all the rest with the end of the answer and the usage."""
    given = chunk(role="assistant", reasoning='so "42" ü', **other)
    first, second = events(apart(b"data: " + compact(given) + b"\n\n"))
    assert first["choices"][0]["delta"] == {"role": "assistant", "reasoning": 'so "42" ü'}
    assert first["choices"][0]["finish_reason"] is None
    assert "usage" not in first
    assert second == chunk(**other)


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "so"},
        {"reasoning": "so", "content": ""},
        {"reasoning": None, "content": "42"},
        {"content": '"reasoning":"x"'},
        {"role": "assistant", "content": ""},
    ],
)
def test_what_is_of_one_kind_stays(delta: dict[str, Any]) -> None:
    """Events with one kind of text are untouched, to the byte."""
    event = b"data: " + compact(chunk(**delta)) + b"\n\n"
    assert apart(event) == event


def test_a_whole_answer_stays_whole() -> None:
    """Only events come apart; both names are there either way."""
    body = compact(answer("so", "42"))
    assert json.loads(as_clients_read_it(body)) == both(answer("so", "42"))
    streamed = events(as_clients_read_it(b"data: " + compact(chunk(reasoning="so", content="42")) + b"\n\n"))
    assert [choice["delta"] for one in streamed for choice in one["choices"]] == [
        {"reasoning": "so", "reasoning_content": "so"},
        {"content": "42"},
    ]
