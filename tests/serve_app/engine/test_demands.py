"""Over vLLM's requests, parser and backend: what may be said where JSON, a tool, or both are demanded?"""

import inspect
import json
from typing import Any

import pytest

from serve_app.engine import demands, whitespace
from tests.serve_app.engine.guided import matcher

FUNCTION = {"name": "get_time", "parameters": {"type": "object"}}
TOOLS: dict[str, Any] = {
    "chat": [{"type": "function", "function": FUNCTION}],
    "responses": [{"type": "function", **FUNCTION}],
}
NAMED: dict[str, Any] = {
    "chat": {"type": "function", "function": {"name": "get_time"}},
    "responses": {"type": "function", "name": "get_time"},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FORMATS: dict[str, dict[str, Any]] = {
    "chat": {
        "object": {"response_format": {"type": "json_object"}},
        "schema": {
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        },
        "empty": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    },
    "responses": {
        "object": {"text": {"format": {"type": "json_object"}}},
        "schema": {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
        "empty": {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}},
    },
}
ANSWERS = {
    "text": "It is noon.",
    "object": '{"b": 1}',
    "fitting": '{"a": 1}',
    "array": "[1, 2]",
    "call": '[TOOL_CALLS]get_time[ARGS]{"city": "Oslo"}',
    "unknown call": "[TOOL_CALLS]get_date[ARGS]{}",
    "text and call": "It is noon.[TOOL_CALLS]get_time[ARGS]{}",
}


@pytest.fixture(params=["as shipped", "mended"])
def is_mended(request: pytest.FixtureRequest, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether this process's vLLM is mended."""
    from mistral_common.guidance.grammar_factory import GrammarFactory
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
    from vllm.parser import mistral

    monkeypatch.setattr(mistral, "_DEFAULT_JSON_SCHEMA", {"anyOf": [{"type": "object"}, {"type": "array"}]})
    for owner, name in (
        (GrammarFactory, "get_lark_from_jinja"),
        (ResponsesRequest, "extract_structured_outputs"),
    ):
        monkeypatch.setattr(owner, name, inspect.unwrap(getattr(owner, name)))
    if request.param == "mended":
        demands.install(tokenizer)
    return bool(request.param == "mended")


def allowed(tokenizer: Any, dialect: str, asked: dict[str, Any]) -> set[str]:
    """Which of ANSWERS a request allows; all, where no grammar is made of it."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
    from vllm.parser.mistral import MistralParser

    if dialect == "chat":
        request = ChatCompletionRequest(messages=[{"role": "user", "content": "hi"}], model="m", **asked)
    else:
        request = ResponsesRequest(input="hi", model="m", **asked)
    adjusted = MistralParser(tokenizer, request.tools).adjust_request(request)
    structured = adjusted.to_sampling_params(64, {}).structured_outputs
    if structured is None:
        return set(ANSWERS)
    whitespace.bound(structured)
    return {
        name for name, answer in ANSWERS.items() if takes(matcher(tokenizer, structured), tokenizer, answer)
    }


def takes(backend: Any, tokenizer: Any, answer: str) -> bool:
    """Whether the backend lets a whole answer pass, and end."""
    vocabulary = tokenizer.get_vocab()
    tokens: list[int] = []
    for piece in answer.replace("[TOOL_CALLS]", "|[TOOL_CALLS]|").replace("[ARGS]", "|[ARGS]|").split("|"):
        special = piece in ("[TOOL_CALLS]", "[ARGS]")
        tokens += [vocabulary[piece]] if special else tokenizer.encode(piece, add_special_tokens=False)
    return int(backend.try_consume_tokens(tokens)) == len(tokens) and bool(backend.is_accepting())


JSON = {"object": {"object", "fitting"}, "schema": {"fitting"}, "empty": {"object", "fitting", "array"}}


@pytest.mark.parametrize("dialect", FORMATS)
@pytest.mark.parametrize("demand", JSON)
@pytest.mark.parametrize("is_mended", ["mended"], indirect=True)
def test_json_alone(tokenizer: Any, is_mended: bool, dialect: str, demand: str) -> None:
    """`json_object` is an object in each dialect, a schema holds, and an empty one is any JSON."""
    assert allowed(tokenizer, dialect, FORMATS[dialect][demand]) == JSON[demand]


@pytest.mark.parametrize("dialect", FORMATS)
@pytest.mark.parametrize("demand", JSON)
@pytest.mark.parametrize("is_mended", ["mended"], indirect=True)
def test_json_or_calls(tokenizer: Any, is_mended: bool, dialect: str, demand: str) -> None:
    """Where tools may be called, the answer is calls or that JSON, and never text."""
    asked = {"tools": TOOLS[dialect], **FORMATS[dialect][demand]}
    assert allowed(tokenizer, dialect, asked) == JSON[demand] | {"call"}


@pytest.mark.parametrize("dialect", FORMATS)
@pytest.mark.parametrize("is_mended", ["mended"], indirect=True)
@pytest.mark.parametrize("demand", [None, *JSON])
def test_a_demanded_tool(tokenizer: Any, is_mended: bool, dialect: str, demand: str | None) -> None:
    """`required` and a named function are a call of a tool that there is, whatever JSON is demanded too."""
    asked = {"tools": TOOLS[dialect], **(FORMATS[dialect][demand] if demand else {})}
    for choice in ("required", NAMED[dialect]):
        assert allowed(tokenizer, dialect, asked | {"tool_choice": choice}) == {"call"}


@pytest.mark.parametrize("dialect", FORMATS)
def test_what_was_right_stays(tokenizer: Any, is_mended: bool, dialect: str) -> None:
    """Tools alone leave text free, and no tools at all leave JSON alone, mended or not."""
    assert allowed(tokenizer, dialect, {"tools": TOOLS[dialect]}) >= {"text", "array", "call"}
    asked = {"tools": TOOLS[dialect], "tool_choice": "none", **FORMATS[dialect]["schema"]}
    assert allowed(tokenizer, dialect, asked) == {"fitting"}


@pytest.mark.parametrize("is_mended", ["as shipped"], indirect=True)
def test_as_shipped(tokenizer: Any, is_mended: bool) -> None:
    """Nothing of it is seen to by vLLM itself."""
    assert "array" in allowed(tokenizer, "chat", FORMATS["chat"]["object"])
    assert "text" in allowed(tokenizer, "chat", {"tools": TOOLS["chat"], **FORMATS["chat"]["schema"]})
    for dialect in FORMATS:
        asked = {"tools": TOOLS[dialect], "tool_choice": "required"}
        assert {"text and call", "unknown call"} <= allowed(tokenizer, dialect, asked)
        assert ("text" in allowed(tokenizer, dialect, asked)) == (dialect == "responses")
    assert "call" not in allowed(
        tokenizer, "responses", {"tools": TOOLS["responses"], **FORMATS["responses"]["schema"]}
    )


@pytest.mark.parametrize("is_mended", ["mended"], indirect=True)
def test_vllms_own_field(tokenizer: Any, is_mended: bool) -> None:
    """A schema may come as text in the field that vLLM has for it, and another grammar is left alone."""
    asked = {"tools": TOOLS["responses"], "structured_outputs": {"json": json.dumps(SCHEMA)}}
    assert allowed(tokenizer, "responses", asked) == {"fitting", "call"}
    own = {"tools": TOOLS["responses"], "structured_outputs": {"grammar": 'start: "It is noon."'}}
    assert allowed(tokenizer, "responses", own) == {"text"}


@pytest.mark.parametrize("is_mended", ["mended"], indirect=True)
def test_json_in_messages(tokenizer: Any, is_mended: bool) -> None:
    """Anthropic's dialect, and whoever says null, comes as no choice and no tool: that is JSON alone too."""
    for demand in JSON:
        asked = {"tool_choice": None, **FORMATS["chat"][demand]}
        assert allowed(tokenizer, "chat", asked) == JSON[demand]


@pytest.mark.parametrize("is_mended", ["mended"], indirect=True)
def test_install_twice(tokenizer: Any, is_mended: bool) -> None:
    """The second time changes nothing."""
    from mistral_common.guidance.grammar_factory import GrammarFactory

    first = GrammarFactory.get_lark_from_jinja
    demands.install(tokenizer)
    assert GrammarFactory.get_lark_from_jinja is first
