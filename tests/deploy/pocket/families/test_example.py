"""How strictly is an answer judged?"""

import pytest

from deploy.pocket.families.example import Example, ToolCall


def call(name: str, arguments: str) -> dict[str, object]:
    """A tool call of an answer."""
    return {"id": "123456789", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("content", "is_right"),
    [
        ('{"a": 1, "b": true}', True),
        ('{"b":true,"a":1}', True),
        ('{"a": 1.0, "b": true}', False),
        ('{"a": 1, "b": 1}', False),
        ('{"a": 1}', False),
        ("a is 1", False),
    ],
)
def test_json_is_judged_by_values(content: str, is_right: bool) -> None:
    """Order and spaces do not matter; types do."""
    example = Example("schemas", {}, '{"a": 1, "b": true}', is_json=True)
    assert example.is_right({"content": content}) is is_right


def test_calls_are_judged_in_order() -> None:
    """The same calls in another order are not right, nor is one that is no JSON."""
    example = Example("tools", {}, None, tool_calls=(ToolCall("f", {"a": 1}), ToolCall("g", {})))
    assert example.is_right({"content": "", "tool_calls": [call("f", '{"a":1}'), call("g", "{}")]})
    assert not example.is_right({"content": "", "tool_calls": [call("g", "{}"), call("f", '{"a":1}')]})
    assert not example.is_right({"content": "", "tool_calls": [call("f", '{"a":'), call("g", "{}")]})


def test_a_call_is_no_plain_answer() -> None:
    """Where an answer in words is right, a call beside it is wrong."""
    example = Example("world", {}, "Paris")
    assert example.is_right({"content": "Paris"})
    assert not example.is_right({"content": "Paris", "tool_calls": [call("f", "{}")]})
