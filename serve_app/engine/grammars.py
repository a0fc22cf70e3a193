"""From which token on does a grammar hold that a request brings along?

Reason: vLLM lets a grammar begin where the reasoning ends, and expects reasoning after every prompt, unless
mistral-common made the grammar. At effort none no reasoning comes, so the grammar never holds.

Every chat has a grammar of mistral-common's, and behind the end of the text it allows nothing. So a request
that is to go on there (`ignore_eos`, as benchmarks have it) gets none.

Upstream symptom (vLLM 0.29.0): at effort none `structured_outputs` in chat and completions, and `text.format`
in responses, change nothing. Under speculation a chat with `ignore_eos` ends in a 500.

No longer needed when: `tests/e2e/test_grammars.py` passes without it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from serve_app.engine import whitespace


def from_the_start(generate: Callable[..., Any], settings: "Settings") -> Callable[..., Any]:
    """Wrap an engine's `generate`: of a prompt that asks for no reasoning, the reasoning has ended.

    `ignore_eos` takes the grammar away. White space in JSON is bounded.
    """

    @wraps(generate)
    def wrapped(prompt: Any, sampling_params: Any, request_id: str, **given: Any) -> Any:
        has_grammar = getattr(sampling_params, "structured_outputs", None) is not None
        if has_grammar and sampling_params.ignore_eos:
            sampling_params.structured_outputs, has_grammar = None, False
        if has_grammar:
            whitespace.bound(sampling_params.structured_outputs)
        tokens = prompt.get("prompt_token_ids") if isinstance(prompt, Mapping) else None
        if has_grammar and tokens and not settings.ask_for_reasoning(tokens):
            given["reasoning_ended"] = True
        return generate(prompt, sampling_params, request_id, **given)

    return wrapped


class Settings:
    """The settings in the prompts of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises KeyError for a tokenizer without tokens for settings."""
        self._decode = tokenizer.decode
        vocabulary = tokenizer.get_vocab()
        self._begin, self._end = vocabulary["[MODEL_SETTINGS]"], vocabulary["[/MODEL_SETTINGS]"]

    def ask_for_reasoning(self, tokens: Sequence[int]) -> bool:
        """Whether the last settings of a prompt name effort high; a raw prompt has none."""
        if self._begin not in tokens:
            return False
        at = len(tokens) - 1 - tokens[::-1].index(self._begin)
        settings = list(tokens[at + 1 :])
        return '"high"' in self._decode(settings[: settings.index(self._end)])
