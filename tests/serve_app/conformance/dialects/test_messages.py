"""Messages that are not as they should be."""

import pytest

from serve_app.conformance.matrix import Outcome
from tests.serve_app.conformance.scripted import Scripted
from tests.serve_app.conformance.spoil import GONE, Spoil, SpoilEvents, event, put, row, twice, without


@pytest.mark.parametrize(
    ("spoil", "case", "reason"),
    [
        (put("id", ""), "none plain", "id: must not be empty"),
        (put("type", "chat"), "none plain", "type: must be 'message'"),
        (put("role", "user"), "none plain", "role: must be 'assistant'"),
        (put("content", []), "none plain", "content: must have a block"),
        (put("content.0.type", "output_text"), "none plain", "content.0.type: must be 'text' or"),
        (
            put("content.0", {"type": "thinking", "thinking": "x", "signature": ""}),
            "none plain",
            "at effort none",
        ),
        (put("content.0.signature", GONE), "high plain", "content.0.signature: is missing"),
        (put("content.0.input", "{}"), "none tool", "content.0.input: must be an object, not '{}'"),
        (put("content.1.id", "toolu_0"), "none parallel", "two calls have the same id"),
        (put("stop_reason", "stop"), "none plain", "stop_reason: must be 'end_turn' or"),
        (put("stop_reason", "end_turn"), "none tool", "finish reason: is stop with 1 tool calls"),
        (put("usage.output_tokens", 0), "none plain", "usage: counts no token of the answer"),
        (put("usage.input_tokens", "7"), "none plain", "must be a whole number of at least 0, not '7'"),
    ],
)
def test_whole(spoil: Spoil, case: str, reason: str) -> None:
    """Each fault of a body is found, and its field named."""
    came = row(Scripted(whole=spoil), f"messages whole {case}")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason


@pytest.mark.parametrize(
    ("spoil", "case", "reason"),
    [
        (without("message_start"), "none plain", "begins with ['content_block_start']"),
        (without("message_stop"), "none plain", "ends in ['content_block_stop', 'message_delta']"),
        (without("message_delta"), "none plain", "ends in ['content_block_stop', 'message_stop']"),
        (event("message_start", put("message.content", [1])), "none plain", "must be empty at the start"),
        (event("message_start", put("message.usage", GONE)), "none plain", "message.usage: is missing"),
        (
            without("content_block_start"),
            "none plain",
            "a content_block_delta of block 0, after 0 have begun",
        ),
        (without("content_block_stop"), "none plain", "block 0 has no stop"),
        (without("content_block_stop"), "high plain", "a content_block_start of block 1, after 1 have begun"),
        (twice("content_block_stop"), "none plain", "a content_block_stop of block 0, after 1"),
        (event("content_block_start", put("index", 1)), "none plain", "a content_block_start of block 1"),
        (event("content_block_delta", put("index", 1)), "none plain", "a content_block_delta of block 1"),
        (
            event("content_block_delta", put("delta.type", "thinking_delta")),
            "none plain",
            "in a block of type",
        ),
        (event("content_block_start", put("content_block.input", {"a": 1})), "none tool", "must be empty at"),
        (without("content_block_delta"), "none tool", "partial_json: is no JSON"),
        (
            event("message_delta", put("delta.stop_reason", None)),
            "none plain",
            "stop_reason: must be 'end_turn'",
        ),
        (event("message_delta", put("usage", {})), "none plain", "counts no token of the answer"),
        (event("message_stop", put("type", "error")), "none plain", "an error: {"),
    ],
)
def test_stream(spoil: SpoilEvents, case: str, reason: str) -> None:
    """Each fault of a stream is found, and the event and its field named."""
    came = row(Scripted(events=spoil), f"messages stream {case}")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason


def test_what_the_end_says_of_the_prompt_holds() -> None:
    """The cache may be known only at the end; then whole and stream count the same."""
    final = {"input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 5}
    came = row(Scripted(events=event("message_delta", put("usage", final))), "messages none stream plain")
    assert (came.outcome, came.reason) == (Outcome.OK, "")
    final["input_tokens"] = 3
    came = row(Scripted(events=event("message_delta", put("usage", final))), "messages none stream plain")
    assert came.reason == "the stream differs from the whole answer: prompt tokens 7 and 6"
