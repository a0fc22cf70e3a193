"""What the policy gets to know of a body."""

from typing import Any

import pytest

from serve_app.router.features import of_request
from serve_app.types import Effort, RequestFeatures


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"temperature": 0.7, "top_p": 0.9}, ()),
        ({"min_p": 0.1}, ("min_p",)),
        ({"logit_bias": {"5": 1}, "allowed_token_ids": [5]}, ("allowed_token_ids", "logit_bias")),
        ({"min_p": 0, "logit_bias": {}, "allowed_token_ids": None}, ()),
    ],
)
def test_plain_decoding(body: dict[str, Any], fields: tuple[str, ...], effort: Effort) -> None:
    """What a draft head cannot honour is noted by name; values that change nothing are not."""
    assert of_request(body, effort) == RequestFeatures(effort, fields)
