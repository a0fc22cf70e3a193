"""Responses that are not as they should be."""

import pytest

from serve_app.conformance.matrix import Outcome
from tests.serve_app.conformance.scripted import Scripted
from tests.serve_app.conformance.speech import Payload
from tests.serve_app.conformance.spoil import GONE, Spoil, event, put, row


@pytest.mark.parametrize(
    ("spoil", "case", "reason"),
    [
        (put("object", "resp"), "none plain", "object: must be 'response'"),
        (put("status", "failed"), "none plain", "status: must be 'completed' or 'incomplete'"),
        (put("status", "incomplete"), "none plain", "incomplete_details: is missing"),
        (put("output", None), "none plain", "output: must be an array, not None"),
        (put("output.0.type", "text"), "none plain", "output.0.type: must be 'message' or"),
        (put("output.0.role", "user"), "none plain", "output.0.role: must be 'assistant'"),
        (put("output.0.content.0.type", "text"), "none plain", "type: must be 'output_text'"),
        (put("output.0.content.0.annotations", GONE), "none plain", "annotations: is missing"),
        (put("output.0.summary", GONE), "high plain", "output.0.summary: is missing"),
        (put("output.0.content.0.type", "text"), "high plain", "type: must be 'reasoning_text'"),
        (put("output.0.call_id", GONE), "none tool", "output.0.call_id: is missing"),
        (put("output.1.call_id", "call_0"), "none parallel", "2 calls share the ids"),
        (put("output.0.arguments", "Paris"), "none tool", "output.0.arguments: is no JSON"),
        (put("usage.total_tokens", 5), "none plain", "usage.total_tokens: is 5, but its parts make 12"),
        (put("usage.output_tokens_details.reasoning_tokens", 9), "none plain", "more than the 5"),
    ],
)
def test_whole(spoil: Spoil, case: str, reason: str) -> None:
    """Each fault of a body is found, and its field named."""
    came = row(Scripted(whole=spoil), f"responses whole {case}")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason


def test_reasoning_at_none() -> None:
    """A reasoning item at effort none is a fault."""

    def reasons(body: Payload) -> Payload:
        body["output"].insert(0, {"type": "reasoning", "id": "rs", "summary": [{"text": "hm"}]})
        return body

    came = row(Scripted(whole=reasons), "responses none whole plain")
    assert came.outcome is Outcome.FAILED
    assert came.reason == "reasoning: is there at effort none: 'hm'"


@pytest.mark.parametrize(
    ("path", "value", "case", "reason"),
    [
        ("response.output.0.content.0.text", "43", "none plain", "response.output: says '43' and thinks ''"),
        ("response.output.0.content.0.text", "Hm.", "high plain", "and thinks 'Hm.'; streamed: ('It is 42.'"),
        ("response.output.0.name", "get_time", "none tool", "response.output: calls (Call(name='get_time'"),
        ("response.usage", None, "none plain", "response.usage: must be an object, not None"),
    ],
)
def test_the_last_event_says_what_was_streamed(path: str, value: object, case: str, reason: str) -> None:
    """The whole response at a stream's end is one, and of the same content as the events before it."""
    came = row(Scripted(events=event(-1, put(path, value))), f"responses stream {case}")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason
