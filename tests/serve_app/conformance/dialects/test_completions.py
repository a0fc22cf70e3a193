"""Raw completions that are not as they should be."""

import pytest

from serve_app.conformance.matrix import Outcome
from tests.serve_app.conformance.scripted import Scripted
from tests.serve_app.conformance.spoil import Spoil, SpoilEvents, event, put, row, without


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (put("object", "chat.completion"), "object: must be 'text_completion'"),
        (put("choices.0.text", None), "choices.0.text: must be a string, not None"),
        (put("choices.0.finish_reason", "tool_calls"), "finish_reason: must be 'stop' or 'length'"),
        (put("usage.total_tokens", 0), "usage.total_tokens: is 0, but its parts make 12"),
    ],
)
def test_whole(spoil: Spoil, reason: str) -> None:
    """Each fault of a body is found."""
    came = row(Scripted(whole=spoil), "completions whole raw")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (event(0, put("choices.0.text", 1)), "text: must be a string, not 1"),
        (without(-1), "has no last chunk without choices"),
        (without(-2), "finish_reason: must be 'stop' or 'length', not None"),
    ],
)
def test_stream(spoil: SpoilEvents, reason: str) -> None:
    """Each fault of a stream is found."""
    came = row(Scripted(events=spoil), "completions stream raw")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason
