"""The effort is written to where vLLM reads it, in each dialect."""

from typing import Any

import pytest

from serve_app.errors import InvalidRequest
from serve_app.ingress import effort
from serve_app.ingress.dialects import CHAT, COMPLETIONS, DIALECTS, MESSAGES, RESPONSES, TOKENIZE, Dialect
from serve_app.types import Effort
from tests.serve_app.ingress.test_effort import HIGH, NONE, applied, template


@pytest.mark.parametrize(
    ("dialect", "body", "wanted", "written"),
    [
        (CHAT, template("high"), HIGH, {"reasoning_effort": "high"}),
        (CHAT, {"chat_template_kwargs": {}}, NONE, {}),
        (CHAT, {}, HIGH, {"reasoning_effort": "high"}),
        (
            CHAT,
            {"prompt_mode": "reasoning"},
            HIGH,
            {"prompt_mode": "reasoning", "reasoning_effort": "high"},
        ),
        (CHAT, {"reasoning_effort": "medium"}, HIGH, {"reasoning_effort": "high"}),
        (CHAT, {"reasoning_effort": "low"}, NONE, {"reasoning_effort": "none"}),
        (
            RESPONSES,
            {"reasoning": {"effort": "medium", "summary": "auto"}},
            HIGH,
            {"reasoning": {"effort": "high", "summary": "auto"}},
        ),
        (RESPONSES, {"reasoning": None}, HIGH, {"reasoning": {"effort": "high"}}),
        (RESPONSES, {"reasoning": {"effort": "low"}}, NONE, {"reasoning": {"effort": "none"}}),
        (MESSAGES, {"output_config": {"effort": "low"}}, NONE, {}),
        (
            MESSAGES,
            {"output_config": {"effort": "low", "format": 1}},
            NONE,
            {"output_config": {"format": 1}},
        ),
        (
            MESSAGES,
            {"output_config": {"format": 1}},
            HIGH,
            {"output_config": {"format": 1, "effort": "high"}},
        ),
        (MESSAGES, {"output_config": {"effort": "max"}}, HIGH, {"output_config": {"effort": "high"}}),
        (TOKENIZE, {"messages": [], "reasoning_effort": "high"}, HIGH, {"messages": []} | template("high")),
        (COMPLETIONS, template("none"), NONE, {}),
    ],
)
def test_what_vllm_is_told(
    dialect: Dialect, body: dict[str, Any], wanted: Effort, written: dict[str, Any]
) -> None:
    """The effort goes to the one place that vLLM's route reads, and what it would refuse goes away."""
    assert effort.written(dialect, body, wanted) == written


@pytest.mark.parametrize("kind", ["enabled", "adaptive"])
def test_thinking_reaches_vllm(kind: str) -> None:
    """The engine reads no `thinking`, so a request that wants it carries the effort as well."""
    body = {"thinking": {"type": kind}}
    assert effort.written(MESSAGES, body, applied(MESSAGES, body)) == {
        "thinking": {"type": kind},
        "output_config": {"effort": "high"},
    }


@pytest.mark.parametrize(
    ("dialect", "body", "wanted"),
    [
        (CHAT, {}, NONE),
        (CHAT, {"reasoning_effort": "none"}, NONE),
        (CHAT, {"reasoning_effort": None}, NONE),
        (CHAT, {"reasoning_effort": "high"}, HIGH),
        (RESPONSES, {"reasoning": {"effort": "high"}}, HIGH),
        (RESPONSES, {"reasoning": {"effort": "none"}}, NONE),
        (MESSAGES, {"thinking": {"type": "disabled"}}, NONE),
        (MESSAGES, {"output_config": {"effort": "high"}}, HIGH),
        (COMPLETIONS, {"reasoning_effort": "none"}, NONE),
    ],
)
def test_what_says_it_already_stays(dialect: Dialect, body: dict[str, Any], wanted: Effort) -> None:
    """A body that vLLM understands as it is, is not touched."""
    assert effort.written(dialect, body, wanted) is body


@pytest.mark.parametrize("dialect", DIALECTS)
def test_other_template_arguments_are_refused(dialect: Dialect) -> None:
    """The tokenizer has no template that would read them; ignoring them would deceive."""
    with pytest.raises(InvalidRequest) as refused:
        effort.written(dialect, {"chat_template_kwargs": {"enable_thinking": True}}, NONE)
    assert refused.value.param == "chat_template_kwargs.enable_thinking"
