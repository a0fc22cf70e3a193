"""What a dialect has and this server has not is refused by name; what asks for nothing is not."""

from typing import Any

import pytest

from serve_app.errors import Unsupported
from serve_app.ingress import unsupported
from serve_app.ingress.dialects import (
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    MESSAGES,
    RESPONSES,
    TOKENIZE,
    Dialect,
)


@pytest.mark.parametrize(
    ("dialect", "body", "field", "word"),
    [
        (RESPONSES, {"background": True}, "background", "not stored"),
        (RESPONSES, {"store": True}, "store", "not stored"),
        (RESPONSES, {"previous_response_id": "resp_1"}, "previous_response_id", "send the earlier items"),
        (RESPONSES, {"conversation": {"id": "c"}}, "conversation", "send the earlier items"),
        (RESPONSES, {"prompt": {"id": "p"}}, "prompt", "stored prompts"),
        (
            RESPONSES,
            {"tools": [{"type": "function"}, {"type": "web_search"}]},
            "tools",
            "no tools of its own",
        ),
        (RESPONSES, {"service_tier": "flex"}, "service_tier", "alike"),
        (RESPONSES, {"include": ["file_search_call.results"]}, "include", "nothing else"),
        (
            RESPONSES,
            {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}},
            "tool_choice",
            "required or one function",
        ),
        (CHAT, {"functions": []}, "functions", "send tools"),
        (CHAT, {"modalities": ["text", "audio"]}, "modalities", "text only"),
        (CHAT, {"web_search_options": {}}, "web_search_options", "no tools of its own"),
        (CHAT, {"store": True}, "store", "not stored"),
        (CHAT, {"safe_prompt": True}, "safe_prompt", "no safety prompt"),
        (CHAT, {"guided_json": {}}, "guided_json", "response_format"),
        (COMPLETIONS, {"guided_regex": "a*"}, "guided_regex", "structured_outputs"),
        (MESSAGES, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools", "no tools of its own"),
        (COUNT_TOKENS, {"mcp_servers": [{"url": "x"}]}, "mcp_servers", "no tools of its own"),
        (MESSAGES, {"container": "c"}, "container", "no tools of its own"),
        (MESSAGES, {"context_management": {"edits": [{"type": "x"}]}}, "context_management", "whole"),
        (MESSAGES, {"context_management": {"edits": 3}}, "context_management", "whole"),
        (MESSAGES, {"output_format": {"type": "json_schema"}}, "output_format", "output_config.format"),
        (
            COUNT_TOKENS,
            {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "document"}]}]}]},
            "messages",
            "texts and images",
        ),
    ],
)
def test_refused(dialect: Dialect, body: dict[str, Any], field: str, word: str) -> None:
    """The answer names the field, its value, and says why or what to send instead."""
    with pytest.raises(Unsupported) as refused:
        unsupported.check(dialect, body)
    assert refused.value.param == field
    assert refused.value.message.startswith(f"{field}={body[field]!r} is not supported: ")
    assert word in refused.value.message


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (RESPONSES, {"background": False, "store": False, "previous_response_id": None, "tools": []}),
        (RESPONSES, {"tools": [{"type": "function", "name": "f"}], "service_tier": "auto"}),
        (RESPONSES, {"tools": "no list", "store": None}),
        (RESPONSES, {"tool_choice": {"type": "function", "name": "f"}}),
        (RESPONSES, {"tool_choice": "required"}),
        (RESPONSES, {"text": {"verbosity": "medium", "format": {"type": "text"}}}),
        (RESPONSES, {"text": "no object", "include": "no list"}),
        (RESPONSES, {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]}),
        (CHAT, {"modalities": ["text"], "store": False, "service_tier": "default", "safe_prompt": False}),
        (CHAT, {"safe_prompt": None, "prompt_mode": "reasoning", "random_seed": 0}),
        (CHAT, {"seed": 1, "tools": [{"type": "function"}]}),
        (MESSAGES, {"tools": [{"name": "f"}, {"type": "custom", "name": "g"}], "mcp_servers": []}),
        (MESSAGES, {"context_management": {"edits": [{"type": "clear_thinking", "keep": "all"}]}}),
        (MESSAGES, {"context_management": {}, "service_tier": "standard_only"}),
        (TOKENIZE, {"store": True}),
    ],
)
def test_not_refused(dialect: Dialect, body: dict[str, Any]) -> None:
    """Values that change nothing pass, and so does what vLLM itself looks after."""
    unsupported.check(dialect, body)


def test_a_field_of_an_object() -> None:
    """It is named by its path."""
    with pytest.raises(Unsupported) as refused:
        unsupported.check(RESPONSES, {"text": {"verbosity": "low"}})
    assert refused.value.param == "text.verbosity"
    assert refused.value.message.startswith("text.verbosity='low' is not supported: ")


def test_a_long_value_is_cut() -> None:
    """A value that fills pages is shown by its beginning."""
    with pytest.raises(Unsupported) as refused:
        unsupported.check(CHAT, {"audio": "x" * 10_000})
    assert len(refused.value.message) < 200
