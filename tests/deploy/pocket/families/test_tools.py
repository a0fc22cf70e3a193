"""Do calls take their values from the request, and are unseen tools unseen?"""

import json
from itertools import islice
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from deploy.pocket.data import examples
from deploy.pocket.families.example import Example, Split
from deploy.pocket.families.toolbox import FIXED, spoken


def functions(example: Example) -> dict[str, dict[str, Any]]:
    """The functions that a request offers, by name."""
    return {tool["function"]["name"]: tool["function"] for tool in example.request["tools"]}


@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("family", ["tools.seen", "tools.unseen", "tools.parallel"])
def test_calls_fit_their_schemas_and_sentences(family: str, split: Split) -> None:
    """Arguments are valid, values stand in the sentence, and the tool is among up to three."""
    for example in islice(examples(3, split, [family]), 150):
        offered = functions(example)
        assert len(offered) <= 3
        assert len(example.tool_calls) == (2 if family == "tools.parallel" else 1)
        for call in example.tool_calls:
            jsonschema.validate(
                call.arguments, offered[call.name]["parameters"] | {"additionalProperties": False}
            )
            for value in call.arguments.values():
                assert spoken(value) in example.request["messages"][0]["content"]


def test_unseen_tools_are_unseen() -> None:
    """No held-out function or parameter is offered in training, and both splits have many."""
    names: dict[str, set[str]] = {}
    parameters: dict[str, set[str]] = {}
    for split in ("train", "held_out"):
        names[split], parameters[split] = set(), set()
        for example in islice(examples(4, split, ["tools.unseen"]), 1500):
            called = functions(example)[example.tool_calls[0].name]
            names[split].add(called["name"])
            parameters[split] |= set(called["parameters"]["properties"])
    assert not names["train"] & names["held_out"]
    assert not parameters["train"] & parameters["held_out"]
    assert len(names["held_out"]) > 100
    fixed = {parameter.name for tool in FIXED for parameter in tool.parameters}
    assert not parameters["held_out"] & fixed


def test_seen_tools_are_the_fixed_ones() -> None:
    """All fixed tools, at least fourteen, are called in training."""
    called = {example.tool_calls[0].name for example in islice(examples(5, "train", ["tools.seen"]), 500)}
    assert called == {tool.name for tool in FIXED}
    assert len(called) >= 14


def test_answers_repeat_what_tools_returned() -> None:
    """Each value of each result stands in the answer, and ids match in order."""
    for example in islice(examples(6, "held_out", ["tools.result"]), 150):
        _, called, *results = example.request["messages"]
        assert [call["id"] for call in called["tool_calls"]] == [result["tool_call_id"] for result in results]
        for result in results:
            for name, value in json.loads(result["content"]).items():
                assert f"{name} is {value}" in (example.content or "").replace("The ", "the ")


def test_a_failed_tool_is_said_to_have_failed() -> None:
    """The answer names the tool and the reason."""
    for example in islice(examples(7, "train", ["tools.error"]), 100):
        _, called, failed = example.request["messages"]
        name, reason = called["tool_calls"][0]["function"]["name"], json.loads(failed["content"])["error"]
        assert example.content == f"The tool {name} failed: {reason}."


def test_nothing_is_called_that_does_not_fit() -> None:
    """Requests without a fitting tool are answered in words."""
    for example in islice(examples(8, "train", ["tools.no_call"]), 100):
        assert example.request["tools"]
        assert not example.tool_calls
