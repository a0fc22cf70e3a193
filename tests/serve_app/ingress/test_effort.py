"""One effort out of every place that a dialect has for it."""

from typing import Any

import pytest

from serve_app.config import MAPPED_EFFORTS, STRICT_EFFORTS
from serve_app.errors import InvalidRequest
from serve_app.ingress import effort
from serve_app.ingress.dialects import (
    CHAT,
    CHAT_RENDER,
    COMPLETIONS,
    COUNT_TOKENS,
    DETOKENIZE,
    DIALECTS,
    MESSAGES,
    RESPONSES,
    TOKENIZE,
    Dialect,
)
from serve_app.types import Effort

NONE, HIGH = Effort.NONE, Effort.HIGH
RAW = TOKENIZE.of({"prompt": "hi"})


def template(value: object) -> dict[str, Any]:
    """Return a body with an effort for the chat template."""
    return {"chat_template_kwargs": {"reasoning_effort": value}}


def applied(
    dialect: Dialect,
    body: dict[str, Any],
    header: str | None = None,
    default: Effort = NONE,
    *,
    strict: bool = True,
) -> Effort:
    """Apply the rules with one of the built-in tables of names."""
    return effort.applied(dialect, body, header, STRICT_EFFORTS if strict else MAPPED_EFFORTS, default)


CONVERSATIONS = [
    (CHAT, {"reasoning_effort": "high"}),
    (CHAT, template("high")),
    (CHAT, {"reasoning_effort": "high"} | template("high")),
    (CHAT, {"reasoning_effort": "high"} | template(None)),
    (CHAT, {"prompt_mode": "reasoning"}),
    (CHAT, {"prompt_mode": "reasoning", "reasoning_effort": "high"}),
    (CHAT, {"prompt_mode": None, "reasoning_effort": "high"}),
    (CHAT_RENDER, {"reasoning_effort": "high"}),
    (CHAT_RENDER, {"prompt_mode": "reasoning"}),
    (RESPONSES, {"reasoning": {"effort": "high", "summary": "auto"}}),
    (RESPONSES, template("high")),
    (MESSAGES, {"output_config": {"effort": "high"}}),
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    (MESSAGES, {"thinking": {"type": "adaptive"}}),
    (MESSAGES, {"thinking": {"type": "enabled"}, "output_config": {"effort": "high"}}),
    (COUNT_TOKENS, {"thinking": {"type": "enabled"}}),
    (TOKENIZE, {"messages": [], "reasoning_effort": "high"}),
    (TOKENIZE, {"messages": []} | template("high")),
]


@pytest.mark.parametrize(("dialect", "body"), CONVERSATIONS)
def test_each_place_says_high(dialect: Dialect, body: dict[str, Any]) -> None:
    """Wherever a dialect keeps the effort, it is found, and a header that agrees changes nothing."""
    assert applied(dialect, body) is HIGH
    assert applied(dialect, body, "high") is HIGH


@pytest.mark.parametrize("dialect", [d for d in DIALECTS if d.effort_at])
@pytest.mark.parametrize("default", [NONE, HIGH])
def test_nothing_said(dialect: Dialect, default: Effort) -> None:
    """Missing and null mean the default; the header alone is enough to choose."""
    assert applied(dialect, {}, default=default) is default
    names = ("reasoning_effort", "reasoning", "thinking", "prompt_mode")
    nulls = dict.fromkeys(names) | {"output_config": {"effort": None}}
    assert applied(dialect, nulls, default=default) is default
    for own in Effort:
        assert applied(dialect, {}, own.value, default=default) is own


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"thinking": {"type": "disabled"}}, NONE),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, NONE),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, HIGH),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, NONE),
        ({"output_config": {"format": {"type": "json_schema"}}}, HIGH),
    ],
)
def test_thinking(body: dict[str, Any], found: Effort) -> None:
    """Enabled is high, disabled is none, and adaptive leaves it to `output_config.effort`."""
    assert applied(MESSAGES, body, default=HIGH, strict=False) is found


@pytest.mark.parametrize(
    ("name", "found"), [(n, NONE) for n in ("none", "minimal", "low")] + [("xhigh", HIGH), ("max", HIGH)]
)
def test_mapped_names(name: str, found: Effort) -> None:
    """The names that other models have mean the nearer of the two."""
    assert applied(RESPONSES, {"reasoning": {"effort": name}}, strict=False) is found
    assert (
        applied(CHAT, {"reasoning_effort": name}, "none" if found is NONE else "high", strict=False) is found
    )


@pytest.mark.parametrize(
    "value", ["medium", "low", "", "NONE", "high ", 1, 0, True, False, 1.5, [], ["high"], {}]
)
def test_strict_names(value: object) -> None:
    """Anything else is the client's mistake: the answer names the field, the values and what came."""
    with pytest.raises(InvalidRequest) as refused:
        applied(CHAT, {"reasoning_effort": value})
    assert refused.value.param == "reasoning_effort"
    assert refused.value.message == f"reasoning_effort must be 'none' or 'high', not {value!r}"


@pytest.mark.parametrize(
    ("dialect", "body", "header", "param", "message"),
    [
        (
            CHAT,
            {"reasoning_effort": "none"} | template("high"),
            None,
            "chat_template_kwargs.reasoning_effort",
            "reasoning_effort='none' and chat_template_kwargs.reasoning_effort='high' "
            "ask for different efforts: 'none' and 'high'",
        ),
        (
            RESPONSES,
            {"reasoning": {"effort": "low"}},
            "high",
            "x-reasoning-effort",
            "reasoning.effort='low' and header x-reasoning-effort='high' "
            "ask for different efforts: 'none' and 'high'",
        ),
        (
            MESSAGES,
            {"thinking": {"type": "enabled"}, "output_config": {"effort": "low"}},
            None,
            "thinking.type",
            "output_config.effort='low' and thinking.type='enabled' "
            "ask for different efforts: 'none' and 'high'",
        ),
        (
            CHAT,
            {"prompt_mode": "reasoning", "reasoning_effort": "none"},
            None,
            "prompt_mode",
            "reasoning_effort='none' and prompt_mode='reasoning' "
            "ask for different efforts: 'none' and 'high'",
        ),
        (
            CHAT,
            {"prompt_mode": "reasoning"},
            "none",
            "prompt_mode",
            "header x-reasoning-effort='none' and prompt_mode='reasoning' "
            "ask for different efforts: 'none' and 'high'",
        ),
        (
            MESSAGES,
            {"thinking": {"type": "disabled"}},
            "max",
            "thinking.type",
            "header x-reasoning-effort='max' and thinking.type='disabled' "
            "ask for different efforts: 'high' and 'none'",
        ),
    ],
)
def test_two_that_disagree(
    dialect: Dialect, body: dict[str, Any], header: str | None, param: str, message: str
) -> None:
    """The answer names both places and both values."""
    with pytest.raises(InvalidRequest) as refused:
        applied(dialect, body, header, strict=False)
    assert (refused.value.param, refused.value.message) == (param, message)


@pytest.mark.parametrize(
    ("dialect", "body", "header", "param"),
    [
        (RESPONSES, {"reasoning": "high"}, None, "reasoning"),
        (MESSAGES, {"output_config": ["high"]}, None, "output_config"),
        (MESSAGES, {"thinking": "enabled"}, None, "thinking"),
        (MESSAGES, {"thinking": {"type": "deep"}}, None, "thinking.type"),
        (MESSAGES, {"thinking": {"type": ["enabled"]}}, None, "thinking.type"),
        (MESSAGES, {"thinking": {}}, None, "thinking.type"),
        (CHAT, {"chat_template_kwargs": "x"}, None, "chat_template_kwargs"),
        (DETOKENIZE, {"chat_template_kwargs": 5}, None, "chat_template_kwargs"),
        (CHAT, {}, "medium", "x-reasoning-effort"),
    ],
)
def test_what_is_no_effort(dialect: Dialect, body: dict[str, Any], header: str | None, param: str) -> None:
    """What stands in an effort's place must be of its kind."""
    with pytest.raises(InvalidRequest) as refused:
        applied(dialect, body, header)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("dialect", "body", "message"),
    [
        (CHAT, {"prompt_mode": "deep"}, "prompt_mode must be 'reasoning', not 'deep'"),
        (CHAT, {"prompt_mode": ["reasoning"]}, "prompt_mode must be 'reasoning', not ['reasoning']"),
        (CHAT, {"prompt_mode": ""}, "prompt_mode must be 'reasoning', not ''"),
        (
            MESSAGES,
            {"thinking": {"type": "deep"}},
            "thinking.type must be 'enabled', 'disabled' or 'adaptive', not 'deep'",
        ),
    ],
)
def test_other_words(dialect: Dialect, body: dict[str, Any], message: str) -> None:
    """A word that a dialect does not have is refused with those that it has."""
    with pytest.raises(InvalidRequest) as refused:
        applied(dialect, body)
    assert refused.value.message == message


def test_words_of_other_dialects() -> None:
    """A dialect that does not have the word leaves it alone."""
    for dialect in (RESPONSES, MESSAGES, TOKENIZE, COMPLETIONS):
        assert applied(dialect, {"prompt_mode": "reasoning"}) is NONE
    assert applied(CHAT, {"thinking": {"type": "enabled"}}) is NONE


@pytest.mark.parametrize("dialect", [COMPLETIONS, DETOKENIZE, RAW])
def test_raw_prompts_have_none(dialect: Dialect) -> None:
    """The chat template tells the model, so without one it cannot think, whatever the default."""
    assert applied(dialect, {}, default=HIGH) is NONE
    assert applied(dialect, {"reasoning_effort": "none"}, "none") is NONE
    for body, header in (({"reasoning_effort": "high"}, None), ({}, "high")):
        with pytest.raises(InvalidRequest, match="raw prompt"):
            applied(dialect, body, header)
