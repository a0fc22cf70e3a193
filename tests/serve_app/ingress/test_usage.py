"""Are tokens counted as answers tell them, in every dialect?"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from serve_app.ingress.dialects import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Dialect
from serve_app.ingress.usage import Usage, asked, hidden, is_silent


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        ([b'{"choices": [], "usage": {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3}}'], 12),
        ([b'{"usage":{"input_tokens":9,"output_tokens":3,"total_tokens":12}}'], 12),
        ([b'{"content": [], "usage": {"input_tokens": 9, "output_tokens": 4}}'], 13),
        ([b'data: {"delta": "a"}\n\n', b'data: {"delta": "b"}\n\ndata: {"delta": "c"}\n\n'], 103),
        (
            [
                b"data: {}\n\n",
                b'data: {"usage": {"prompt_tokens": 30, "completion_tokens": 10}}\n\n',
                b"data: [DONE]\n\n",
            ],
            40,
        ),
        (
            [
                b'data: {"message": {"usage": {"input_tokens": 7, "output_tokens": 0}}}\n\n',
                b'data: {"usage": {"input_tokens": 7, "output_tokens": 5}}\n\n',
            ],
            12,
        ),
        (
            [
                b'data: {"message": {"usage": {"input_tokens": 7, "output_tokens": 0}}}\n\n',
                b'data: {"delta": "a"}\n\ndata: {"delta": "b"}\n\n',
            ],
            10,
        ),
        ([b'{"content": "say \\"total_tokens\\": 9999"}'], 100),
    ],
    ids=[
        "chat",
        "responses",
        "messages",
        "silent stream",
        "stream with usage",
        "messages stream",
        "messages stream that is left",
        "quoted",
    ],
)
def test_the_tokens_of_an_answer(chunks: list[bytes], wanted: int) -> None:
    """The answer's own figures where it has any; else the estimated prompt and one token an event."""
    usage = Usage(100)
    assert [usage.read(chunk) for chunk in chunks][-1] == wanted


def test_the_kinds_of_tokens() -> None:
    """Whatever the dialect calls them, they come out under one name; what was not told is not there."""
    usage = Usage(100)
    assert usage.told == {}
    usage.read(b'{"usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3,'
               b'"completion_tokens_details":{"reasoning_tokens":2}}}')  # fmt: skip
    assert usage.told == {"input": 9, "output": 3, "reasoning": 2}


@pytest.mark.parametrize(
    ("dialect", "fields", "wanted"),
    [
        (CHAT, {"stream": True}, True),
        (COMPLETIONS, {"stream": True, "stream_options": {"include_usage": False}}, True),
        (CHAT, {"stream": True, "stream_options": {"include_usage": True}}, False),
        (CHAT, {}, False),
        (MESSAGES, {"stream": True}, False),
        (RESPONSES, {"stream": True}, False),
    ],
)
def test_silent_streams(dialect: Dialect, fields: dict[str, Any], wanted: bool) -> None:
    """Whole answers and the other dialects tell their usage anyway."""
    assert is_silent(dialect, fields) is wanted


QUESTION = {"include_usage": True, "continuous_usage_stats": False}


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b'{"stream":true}', {"include_usage": True}),
        (b' {"stream" : true }\n', {"include_usage": True}),
        ('{"stream":true}'.encode("utf-16"), QUESTION),
        (b'{"stream":true,"stream_options":null}', QUESTION),
        (
            b'{"stream":true,"stream_options":{"continuous_usage_stats":true,"x":1}}',
            {**QUESTION, "x": 1},
        ),
    ],
    ids=["bare", "spaced", "utf-16", "null", "other options"],
)
def test_the_question(sent: bytes, wanted: dict[str, Any]) -> None:
    """Other options stay; figures in every event, which would not be hidden, are not asked for."""
    assert json.loads(asked(sent, json.loads(sent))) == {"stream": True, "stream_options": wanted}


def test_options_that_are_none() -> None:
    """The engine says what they should be."""
    sent = b'{"stream":true,"stream_options":"wrong"}'
    assert asked(sent, json.loads(sent)) == sent


async def test_the_answer_to_it_is_hidden() -> None:
    """Only the event that we asked for goes; a text that quotes one stays, and nothing is cut."""
    text = b'data: {"choices":[{"delta":{"content":"\\"choices\\":[] \\"usage\\":"}}]}\n\n'
    figures = b'data: {"id":"1","choices":[],"usage":{"total_tokens":9}}\n\n'

    async def stream() -> AsyncIterator[bytes]:
        for chunk in (text, text + figures + b"data: [DONE]\n\n", figures):
            yield chunk

    assert [chunk async for chunk in hidden(stream())] == [text, text + b"data: [DONE]\n\n"]
