"""Requests in a server's words, and its answers in ours."""

import json
from typing import Any

import pytest

from serve_app.config import Merge
from serve_app.engine.upstream.words import NotUnderstood, asked, event, merged, num_tokens, whole

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "merge", "sent"),
    [
        ({}, Merge(), {"reasoning_effort": "none"}),
        ({"reasoning_effort": "high"}, Merge(), {"reasoning_effort": "high"}),
        ({"reasoning_effort": "high"}, Merge(high={}), {}),
        (
            {"reasoning_effort": "high"},
            Merge(high={"prompt_mode": "reasoning"}),
            {"prompt_mode": "reasoning"},
        ),
        (
            {"a": 1, "stream_options": {"include_usage": True}},
            Merge(none={"chat_template_kwargs": {"enable_thinking": False}, "stream_options": None}),
            {"a": 1, "chat_template_kwargs": {"enable_thinking": False}},
        ),
    ],
)
def test_an_effort_as_the_server_has_it(body: dict[str, Any], merge: Merge, sent: dict[str, Any]) -> None:
    """The effort leaves its place, and the operator's patch for it is applied."""
    assert json.loads(asked(CHAT, {"model": "m", **body}, "theirs", merge)) == {"model": "theirs", **sent}


def test_other_routes_are_not_merged() -> None:
    """There a server reads what vLLM reads."""
    sent = asked("/v1/completions", {"prompt": "a"}, "theirs", Merge())
    assert json.loads(sent) == {"prompt": "a", "model": "theirs"}


@pytest.mark.parametrize(
    ("tree", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None, "x": None}, {}),
        ({"a": ["b"]}, {"a": {"c": 1}}, {"a": {"c": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": {"e": None}}}, {"a": {"c": 2, "d": {}}}),
    ],
)
def test_merge_patch(tree: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    """As RFC 7396 has it."""
    assert merged(tree, patch) == result


BOTH = {"content": "x", "reasoning": "y", "reasoning_content": "y"}


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ({"content": "x"}, {"content": "x"}),
        ({"content": "x", "reasoning": "y"}, BOTH),
        ({"content": "x", "reasoning_content": "y"}, BOTH),
        ({"content": "x", "reasoning": None, "reasoning_content": "y"}, BOTH),
        ({"content": "x", "reasoning": None}, {"content": "x", "reasoning": None, "reasoning_content": None}),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "y"}]},
                    {"type": "text", "text": "x"},
                ]
            },
            BOTH,
        ),
    ],
)
def test_reasoning_under_both_names(said: dict[str, Any], heard: dict[str, Any]) -> None:
    """Wherever a server has the reasoning, clients find it under both names."""
    answer = json.loads(whole(CHAT, {"choices": [{"message": dict(said)}]}, "ours"))
    assert answer["choices"][0]["message"] == heard


def test_a_delta_with_both_becomes_two() -> None:
    """Reasoning and content in one delta come apart, as from our own engines."""
    tree = {"choices": [{"delta": {"reasoning_content": "a\ud800", "content": "b"}, "finish_reason": None}]}
    with pytest.raises(NotUnderstood):
        event(CHAT, b"", {"choices": [{"delta": 3}]}, "ours")
    with pytest.raises(NotUnderstood, match="UnicodeEncodeError"):
        event(CHAT, b"", json.loads(json.dumps(tree)), "ours")
    tree["choices"][0]["delta"] = {"reasoning_content": "a", "content": "b"}
    first, second = event(CHAT, b"", tree, "ours").split(b"\n\n")[:2]
    assert json.loads(first[6:])["choices"][0]["delta"] == {"reasoning": "a", "reasoning_content": "a"}
    assert json.loads(second[6:])["choices"][0]["delta"] == {"content": "b"}


def test_half_a_character_stays_escaped() -> None:
    """A lone surrogate, half of an emoji that a server cut in two, passes as it came."""
    assert b'"content":"\\ud83d"' in event(CHAT, b"", {"choices": [{"delta": {"content": "\ud83d"}}]}, "ours")


@pytest.mark.parametrize(
    ("tree", "number"),
    [
        ({"usage": {"completion_tokens": 3}}, 3),
        ({"usage": {"output_tokens": 4}}, 4),
        ({"usage": None}, None),
        ({"usage": {"completion_tokens": "3"}}, None),
        ({}, None),
    ],
)
def test_tokens_of_an_answer(tree: dict[str, Any], number: int | None) -> None:
    """Under either dialect's name, if it says."""
    assert num_tokens(tree) == number
