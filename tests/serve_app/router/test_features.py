"""What a chat body says about effort, and what it may not say."""

from typing import Any

import pytest

from serve_app.errors import InvalidRequest
from serve_app.router.features import effort_of, of_chat
from serve_app.types import Effort, RequestFeatures


@pytest.mark.parametrize(
    ("body", "default", "effort"),
    [
        ({}, Effort.NONE, Effort.NONE),
        ({}, Effort.HIGH, Effort.HIGH),
        ({"reasoning_effort": None}, Effort.HIGH, Effort.HIGH),
        ({"reasoning_effort": "none"}, Effort.HIGH, Effort.NONE),
        ({"reasoning_effort": "high"}, Effort.NONE, Effort.HIGH),
    ],
)
def test_effort(body: dict[str, Any], default: Effort, effort: Effort) -> None:
    """The request's own effort wins; missing and null mean the default."""
    assert effort_of(body, default) is effort
    assert of_chat(body, default) == RequestFeatures(effort)


@pytest.mark.parametrize(
    "value", ["medium", "low", "", "NONE", "high ", 1, 0, True, False, 1.5, [], ["high"], {}]
)
def test_other_efforts_are_refused(value: object) -> None:
    """Anything else is the client's mistake: the answer names the field, the values and what came."""
    with pytest.raises(InvalidRequest) as refused:
        of_chat({"reasoning_effort": value}, Effort.NONE)
    assert refused.value.param == "reasoning_effort"
    assert refused.value.message == f"reasoning_effort must be 'none' or 'high', not {value!r}"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"temperature": 0.7, "top_p": 0.9}, ()),
        ({"min_p": 0.1}, ("min_p",)),
        ({"logit_bias": {"5": 1}, "allowed_token_ids": [5]}, ("allowed_token_ids", "logit_bias")),
        ({"min_p": 0, "logit_bias": {}, "allowed_token_ids": None}, ()),
    ],
)
def test_plain_decoding(body: dict[str, Any], fields: tuple[str, ...]) -> None:
    """What a draft head cannot honour is noted by name; values that change nothing are not."""
    assert of_chat(body, Effort.NONE) == RequestFeatures(Effort.NONE, fields)
