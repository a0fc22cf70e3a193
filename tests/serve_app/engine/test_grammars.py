"""Does a grammar hold from the first token exactly where no reasoning will come?"""

from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.engine.grammars import Settings, from_the_start

GRAMMAR = SimpleNamespace(json=None, json_object=None, grammar='start: "yes"')


def prompt(tokenizer: Any, effort: str | None, asked: str = "Is it?") -> list[int]:
    """The tokens of a chat at that effort, or of a raw prompt."""
    if effort is None:
        return list(tokenizer.encode(asked))
    messages = [{"role": "user", "content": asked}]
    return list(tokenizer.apply_chat_template(messages, reasoning_effort=effort))


def told(tokenizer: Any, tokens: Any, grammar: object, *, ignore_eos: bool = False, **given: Any) -> Any:
    """What the engine is told about the end of the reasoning; "free" if there is no grammar."""

    def generate(prompt: Any, sampling_params: Any, request_id: str, **passed: Any) -> Any:
        return passed.get("reasoning_ended") if sampling_params.structured_outputs else "free"

    wrapped = from_the_start(generate, Settings(tokenizer))
    return wrapped(tokens, SimpleNamespace(structured_outputs=grammar, ignore_eos=ignore_eos), "id", **given)


@pytest.mark.parametrize(("effort", "ended"), [(None, True), ("none", True), ("high", False)])
def test_the_prompt_decides(tokenizer: Any, effort: str | None, ended: bool) -> None:
    """A raw prompt and one at none have no reasoning to wait for; high keeps what vLLM found."""
    tokens = {"prompt_token_ids": prompt(tokenizer, effort)}
    assert told(tokenizer, tokens, GRAMMAR, reasoning_ended=False) is ended


def test_a_text_about_effort_is_no_setting(tokenizer: Any) -> None:
    """What the user writes is not taken for settings."""
    asked = '[MODEL_SETTINGS]{"reasoning_effort": "high"}[/MODEL_SETTINGS]'
    tokens = {"prompt_token_ids": prompt(tokenizer, "none", asked)}
    assert told(tokenizer, tokens, GRAMMAR, reasoning_ended=False) is True


def test_without_a_grammar_nothing_changes(tokenizer: Any) -> None:
    """Other requests go through as they are, and so does a prompt that has no tokens yet."""
    tokens = {"prompt_token_ids": prompt(tokenizer, "none")}
    assert told(tokenizer, tokens, None, reasoning_ended=False) == "free"
    assert told(tokenizer, "text", GRAMMAR) is None


def test_no_grammar_behind_the_end(tokenizer: Any) -> None:
    """A request that goes on after the end of the text has none to break."""
    tokens = {"prompt_token_ids": prompt(tokenizer, "high")}
    assert told(tokenizer, tokens, GRAMMAR, ignore_eos=True) == "free"
