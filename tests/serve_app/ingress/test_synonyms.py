"""The words of Mistral's own API become those that vLLM's chat knows."""

from typing import Any

import pytest

from serve_app.errors import InvalidRequest
from serve_app.ingress import synonyms
from serve_app.ingress.dialects import CHAT, CHAT_RENDER, DIALECTS, RESPONSES, TOKENIZE, Dialect

HELLO = {"role": "user", "content": "Hello."}
TEXT = {"type": "text", "text": "What is it?"}
BARE = {"type": "image_url", "image_url": "https://x.org/a.png"}
OBJECT = {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}
BEGUN = {"role": "assistant", "content": "It is"}
FUNCTION = {"type": "function", "function": {"name": "f"}}


def thought(thinking: object, **others: object) -> dict[str, Any]:
    """Return a turn of the assistant with its thinking."""
    return {"role": "assistant", "content": [{"type": "thinking", "thinking": thinking} | others, TEXT]}


def call(arguments: object) -> dict[str, Any]:
    """Return a call with these arguments."""
    return {"id": "c12345678", "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize("dialect", [CHAT, CHAT_RENDER])
@pytest.mark.parametrize(
    ("body", "translated"),
    [
        ({"random_seed": 7}, {"seed": 7}),
        ({"random_seed": 0}, {"seed": 0}),
        ({"random_seed": 7, "seed": 7}, {"seed": 7}),
        ({"random_seed": 7, "seed": None}, {"seed": 7}),
        ({"random_seed": "x"}, {"seed": "x"}),
        ({"tool_choice": "any"}, {"tool_choice": "required"}),
        ({"tool_choice": "any", "random_seed": 7, "n": 1}, {"tool_choice": "required", "seed": 7, "n": 1}),
        (
            {"messages": [HELLO, {"role": "user", "content": [BARE, TEXT, OBJECT]}]},
            {"messages": [HELLO, {"role": "user", "content": [OBJECT, TEXT, OBJECT]}]},
        ),
        (
            {"messages": [HELLO, thought([TEXT, TEXT], closed=True), thought("Hm."), thought([])]},
            {"messages": [HELLO, thought("What is it?" * 2, closed=True), thought("Hm."), thought("")]},
        ),
        (
            {"messages": [HELLO, {"role": "assistant", "tool_calls": [call({"a": "ä"}), call("{}"), 1]}]},
            {"messages": [HELLO, {"role": "assistant", "tool_calls": [call('{"a": "ä"}'), call("{}"), 1]}]},
        ),
        (
            {"messages": [HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]},
            {"messages": [HELLO, {"role": "assistant", "content": [{"type": "text", "text": "No."}]}]},
        ),
        (
            {"messages": [HELLO, {"role": "assistant", "content": None, "refusal": "No."}]},
            {"messages": [HELLO, {"role": "assistant", "content": "No.", "refusal": "No."}]},
        ),
        (
            {"messages": [HELLO, BEGUN | {"prefix": True}]},
            {"messages": [HELLO, BEGUN], "continue_final_message": True, "add_generation_prompt": False},
        ),
        (
            {"messages": [HELLO, thought([TEXT]) | {"prefix": True}]},
            {
                "messages": [HELLO, thought("What is it?")],
                "continue_final_message": True,
                "add_generation_prompt": False,
            },
        ),
    ],
)
def test_translated(dialect: Dialect, body: dict[str, Any], translated: dict[str, Any]) -> None:
    """Fields and values get vLLM's names, and the client's body stays as it was."""
    before = dict(body)
    assert synonyms.translated(dialect, body) == translated
    assert body == before


@pytest.mark.parametrize(
    ("dialect", "key"), [(CHAT, "messages"), (TOKENIZE, "messages"), (RESPONSES, "input")]
)
def test_a_developer(dialect: Dialect, key: str) -> None:
    """OpenAI's clients call the system so, and the model's encoder refuses roles that it does not know."""
    other = {"role": ["developer"]}
    body = {key: [{"role": "developer", "content": "Be brief."}, HELLO, other, 1]}
    told = {key: [{"role": "system", "content": "Be brief."}, HELLO, other, 1]}
    assert synonyms.translated(dialect, body) == told
    assert synonyms.translated(dialect, told) is told


@pytest.mark.parametrize(("ours", "theirs"), [(7, 8), (0, 7), (7, 0), (7, "7")])
def test_two_that_differ(ours: object, theirs: object) -> None:
    """The answer names both fields and both values."""
    with pytest.raises(InvalidRequest) as refused:
        synonyms.translated(CHAT, {"seed": ours, "random_seed": theirs})
    assert refused.value.param == "random_seed"
    assert refused.value.message.startswith(f"seed={ours!r} and random_seed={theirs!r} are two names of one")


@pytest.mark.parametrize("thoughts", [[1], [TEXT, {"type": "text"}], [{"text": 1}], [None]])
def test_thinking_of_something_else(thoughts: list[object]) -> None:
    """It is refused by name, with its value."""
    with pytest.raises(
        InvalidRequest, match=r"^thinking=\[.*\] must be a string, or a list of text parts$"
    ) as refused:
        synonyms.translated(CHAT, {"messages": [HELLO, thought(thoughts)]})
    assert refused.value.param == "messages"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"seed": 7, "random_seed": None},
        {"tool_choice": "required"},
        {"tool_choice": "auto"},
        {"tool_choice": None},
        {"tool_choice": FUNCTION},
        {"tool_choice": ["any"]},
        {"messages": [HELLO, {"role": "user", "content": [TEXT, OBJECT, "x"]}, "y"]},
        {"messages": "x"},
        {"messages": [thought(None), thought({"text": "x"})]},
        {"messages": [BEGUN | {"prefix": True}, HELLO]},
        {"messages": [BEGUN | {"prefix": False}]},
        {"messages": [BEGUN]},
        {"messages": []},
    ],
)
def test_what_is_vllms_already(body: dict[str, Any]) -> None:
    """A body that vLLM understands as it is, is not touched."""
    assert synonyms.translated(CHAT, body) is body


@pytest.mark.parametrize("dialect", [d for d in DIALECTS if d not in (CHAT, CHAT_RENDER)])
def test_other_dialects(dialect: Dialect) -> None:
    """Elsewhere the words are not Mistral's: in messages, `any` is Anthropic's own."""
    body = {"random_seed": 7, "seed": 8, "tool_choice": "any"}
    assert synonyms.translated(dialect, body) is body
