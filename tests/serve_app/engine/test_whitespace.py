"""Is white space in JSON bounded, and does vLLM's backend still not see to it itself?"""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.engine import whitespace
from tests.serve_app.engine.guided import matcher

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
LARK = f"start: SAFE_WS? %json {json.dumps(SCHEMA)}\nSAFE_WS: /[ \\t\\r\\n]{{1,8}}/"
USUAL = ('{"a": 1, "b": [1, 2]}', '{"a":1,"b":[1,2]}')


def asked(**given: Any) -> Any:
    """What a request brings along."""
    return SimpleNamespace(**{"json": None, "json_object": None, "grammar": None, **given})


ASKED = {
    "schema": lambda: asked(json=dict(SCHEMA)),
    "schema as text": lambda: asked(json=json.dumps(SCHEMA)),
    "any object": lambda: asked(json_object=True),
    "chat": lambda: asked(grammar=LARK),
}


def accepted(tokenizer: Any, structured: Any, text: str) -> tuple[int, int]:
    """How many tokens of `text` the backend of vLLM takes, and how many there are."""
    tokens = tokenizer.encode(text, add_special_tokens=False)
    return int(matcher(tokenizer, structured).try_consume_tokens(tokens)), len(tokens)


@pytest.mark.parametrize("make", ASKED.values(), ids=ASKED)
def test_white_space_ends(tokenizer: Any, make: Any) -> None:
    """As shipped a thousand spaces pass; bounded, they do not, and what people write still does."""
    endless = "{" + " " * 1000
    shipped, bounded = make(), make()
    whitespace.bound(bounded)
    taken, length = accepted(tokenizer, shipped, endless)
    assert taken == length
    taken, length = accepted(tokenizer, bounded, endless)
    assert taken < length
    for text in USUAL:
        taken, length = accepted(tokenizer, bounded, text)
        assert taken == length


def test_options_of_the_request_stay() -> None:
    """Whoever knows the backend's own options may say them."""
    structured = asked(json={**SCHEMA, "x-guidance": {"whitespace_flexible": True}})
    whitespace.bound(structured)
    assert structured.json["x-guidance"]["whitespace_flexible"] is True


@pytest.mark.parametrize(
    "given",
    [{"choice": ["yes"]}, {"json": "[1]"}, {"grammar": "start: /%json x/"}, {"grammar": "start: %json {"}],
    ids=["no JSON", "no schema", "in a text", "broken"],
)
def test_the_rest_is_left_alone(given: dict[str, Any]) -> None:
    """What holds no schema is not touched, and the backend has the word on what is wrong."""
    structured = asked(**given)
    whitespace.bound(structured)
    assert vars(structured) == vars(asked(**given))


def test_the_schema_is_not_changed_in_place() -> None:
    """It belongs to the request."""
    schema = dict(SCHEMA)
    whitespace.bound(asked(json=schema))
    assert schema == SCHEMA


def test_words_in_texts_are_left_alone(tokenizer: Any) -> None:
    """A description may speak of grammars, and options may be null."""
    schema = SCHEMA | {"description": "like %json {} here", whitespace.OPTIONS: None}
    structured = asked(grammar=f"start: %json {json.dumps(schema)}")
    whitespace.bound(structured)
    taken, length = accepted(tokenizer, structured, '{"a": 1}')
    assert taken == length
    assert structured.grammar.count(whitespace.OPTIONS) == 1
