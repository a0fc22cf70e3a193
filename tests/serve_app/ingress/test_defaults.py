"""What the operator adds to requests that leave something open, and where it goes in each dialect."""

from datetime import date
from typing import Any

import pytest

from serve_app.config import Defaults, Model, Sampling
from serve_app.ingress import defaults
from serve_app.ingress.dialects import (
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    DETOKENIZE,
    MESSAGES,
    RESPONSES,
    TOKENIZE,
    Dialect,
)
from serve_app.types import Effort

NONE, HIGH = Effort.NONE, Effort.HIGH
PLAIN = Model(path="x", name="small", defaults=Defaults(high=Sampling()))
FILLED = "You are small. It is 2026-03-01, yesterday was 2026-02-28. {}"
PROMPTED = PLAIN.model_copy(
    update={"system_prompt": "You are {name}. It is {today}, yesterday was {yesterday}. {{}}"}
)


def completed(dialect: Dialect, body: dict[str, Any], effort: Effort, model: Model) -> Any:
    """Complete on the first of March."""
    return defaults.completed(dialect, body, effort, model, date(2026, 3, 1))


@pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])
def test_sampling(dialect: Dialect) -> None:
    """What the request leaves open is filled by its effort; what it says stays; null says nothing."""
    model = PLAIN.model_copy(
        update={
            "defaults": Defaults(none=Sampling(temperature=0.2, top_p=0.9), high=Sampling(temperature=0.7))
        }
    )
    assert completed(dialect, {}, NONE, model) == {"temperature": 0.2, "top_p": 0.9}
    assert completed(dialect, {}, HIGH, model) == {"temperature": 0.7}
    assert completed(dialect, {"temperature": None}, HIGH, model) == {"temperature": 0.7}
    assert completed(dialect, {"temperature": 0, "top_p": 1}, NONE, model) == {"temperature": 0, "top_p": 1}


def test_reasoning_is_sampled_as_recommended() -> None:
    """Without a word from the operator, high gets 0.7, and none is left to vLLM."""
    model, body = Model(path="x", name="m"), dict[str, Any]()
    assert completed(CHAT, body, HIGH, model) == {"temperature": 0.7}
    assert completed(CHAT, body, NONE, model) is body


@pytest.mark.parametrize("dialect", [COUNT_TOKENS, TOKENIZE, DETOKENIZE])
def test_no_sampling_where_nothing_is_generated(dialect: Dialect) -> None:
    """Counting and rendering take no temperature."""
    body: dict[str, Any] = {"messages": []}
    assert completed(dialect, body, HIGH, Model(path="x", name="m")) is body


HI = [{"role": "user", "content": "hi"}]
SYSTEM = [{"role": "system", "content": FILLED}]


@pytest.mark.parametrize(
    ("dialect", "body", "added"),
    [
        (CHAT, {"messages": HI}, {"messages": [*SYSTEM, *HI]}),
        (TOKENIZE, {"messages": HI}, {"messages": [*SYSTEM, *HI]}),
        (RESPONSES, {"input": "hi"}, {"instructions": FILLED}),
        (RESPONSES, {"input": HI, "instructions": None}, {"instructions": FILLED}),
        (MESSAGES, {"messages": HI}, {"system": FILLED}),
        (COUNT_TOKENS, {"messages": HI, "system": []}, {"system": FILLED}),
    ],
)
def test_a_system_prompt(dialect: Dialect, body: dict[str, Any], added: dict[str, Any]) -> None:
    """A conversation without a system prompt gets the operator's, filled in, where its dialect has it."""
    assert completed(dialect, body, NONE, PROMPTED) == body | added
    assert completed(dialect, body, NONE, PLAIN) is body


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (CHAT, {"messages": [{"role": "system", "content": "be brief"}, *HI]}),
        (CHAT, {"messages": [*HI, {"role": "developer", "content": "be brief"}]}),
        (CHAT, {"messages": "no list"}),
        (CHAT, {}),
        (RESPONSES, {"input": "hi", "instructions": "be brief"}),
        (RESPONSES, {"input": [{"role": "developer", "content": "be brief"}, *HI]}),
        (MESSAGES, {"messages": HI, "system": "be brief"}),
        (MESSAGES, {"messages": [{"role": "system", "content": "be brief"}, 5, *HI]}),
        (COMPLETIONS, {"prompt": "hi"}),
        (DETOKENIZE, {"tokens": [1]}),
        (TOKENIZE.of({"prompt": "hi"}), {"prompt": "hi"}),
    ],
)
def test_no_system_prompt(dialect: Dialect, body: dict[str, Any]) -> None:
    """One that is there stays alone, and what is no conversation gets none."""
    assert completed(dialect, body, NONE, PROMPTED) is body
