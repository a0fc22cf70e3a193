"""How much white space may stand between two parts of JSON that a grammar asks for?

Reason: JSON allows any amount, so a model that was not told to write JSON, and would rather write something
else, may write white space until its tokens are used up.

Upstream symptom (vLLM 0.29.0): an answer to `response_format` or `text.format` begins with `{` and goes on in
spaces up to `max_tokens`. `disable_any_whitespace` would forbid the usual space behind a comma too, and
llguidance repeats a `whitespace_pattern` as often as it likes.

No longer needed when: `tests/serve_app/engine/test_whitespace.py` passes without it.
"""

import json
from collections.abc import Mapping
from typing import Any

ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
"""A space behind commas and colons, or none."""
OPTIONS = "x-guidance"
"""Where llguidance, the backend of vLLM for Mistral's tokenizer, reads options in a schema."""

_JSON_RULE = "%json "


def bound(structured: Any) -> None:
    """Bound the white space in the grammar of `structured`, vLLM's StructuredOutputsParams."""
    if structured.json_object:
        structured.json_object, structured.json = None, {"type": "object"}
    if structured.json is not None:
        structured.json = _schema(structured.json)
    if structured.grammar is not None:
        structured.grammar = _lark(structured.grammar)


def _schema(schema: Any) -> Any:
    given = json.loads(schema) if isinstance(schema, str) else schema
    if not isinstance(given, Mapping):
        return schema
    options = given.get(OPTIONS)
    bounded = {**given, OPTIONS: {**ONE_LINE, **(options if isinstance(options, Mapping) else {})}}
    return json.dumps(bounded, ensure_ascii=False) if isinstance(schema, str) else bounded


def _lark(grammar: str) -> str:
    """Bound every `%json {...}` of a grammar, as mistral-common writes them for chat."""
    parts, at = [], 0
    while (found := grammar.find(_JSON_RULE, at)) >= 0:
        begin = found + len(_JSON_RULE)
        parts.append(grammar[at:begin])
        try:
            schema, at = json.JSONDecoder().raw_decode(grammar, begin)
        except json.JSONDecodeError:
            at = begin  # the words stood in some text, or the backend will say what is wrong
        else:
            parts.append(json.dumps(_schema(schema), ensure_ascii=False))
    return "".join([*parts, grammar[at:]])
