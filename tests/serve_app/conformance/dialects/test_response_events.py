"""Events of responses that do not come as they should."""

import pytest

from serve_app.conformance.matrix import Outcome
from tests.serve_app.conformance.scripted import Scripted
from tests.serve_app.conformance.spoil import GONE, SpoilEvents, event, put, row, twice, without

TEXT, ARGUMENTS = "response.output_text", "response.function_call_arguments"
ADDED, DONE = "response.output_item.added", "response.output_item.done"


@pytest.mark.parametrize(
    ("spoil", "case", "reason"),
    [
        (event(3, put("sequence_number", 9)), "none plain", "sequence_number: is 9, not 3"),
        (event(3, put("sequence_number", GONE)), "none plain", "sequence_number: is missing"),
        (without("response.created"), "none plain", "begins with ['response.output_item.added']"),
        (without("response.completed"), "none plain", "ends in ['response.output_item.done']"),
        (event(0, put("response.status", "completed")), "none plain", "must be 'queued' or 'in_progress'"),
        (
            event(-1, put("response.id", "resp_2")),
            "none plain",
            "response.id: is not 'resp_1', as at the start",
        ),
        (event(-1, put("type", "response.failed")), "none plain", "an error: {"),
        (without(ADDED), "none plain", "response.content_part.added of item 0, which is not open"),
        (without(DONE), "none plain", "output items [0] are not done"),
        (twice(DONE), "none plain", "response.output_item.done of item 0, which is not open"),
        (event(ADDED, put("output_index", 1)), "none plain", "output_index: is 1, not 0"),
        (event(f"{TEXT}.delta", put("item_id", "x")), "none plain", "is 'x', but the item's id was 'msg_1'"),
        (without(f"{TEXT}.delta"), "none plain", "is 'It is 42.', but the deltas make 'is 42.'"),
        (without(f"{TEXT}.done"), "none plain", "done, but there was no event for the end of 'It is 42.'"),
        (event(f"{TEXT}.done", put("text", "It")), "none plain", "text: is 'It', but the deltas make 'It is"),
        (event(DONE, put("item.content.0.text", "")), "none plain", "is '', but the deltas make 'It is 42.'"),
        (
            event(f"{TEXT}.delta", put("type", f"{ARGUMENTS}.delta")),
            "none plain",
            "in an item of type message",
        ),
        (without(f"{ARGUMENTS}.delta"), "none tool", "but the deltas make 'ity"),
        (
            event(DONE, put("item.arguments", "{}")),
            "none tool",
            "item.arguments: is '{}', but the deltas make",
        ),
        (event(DONE, put("item.name", "x")), "none tool", "item.name: must be 'get_weather', not 'x'"),
        (event(ADDED, put("item.call_id", "")), "none tool", "item.call_id: must not be empty"),
    ],
)
def test_order_and_content(spoil: SpoilEvents, case: str, reason: str) -> None:
    """Each event that is missing, out of place or at odds with others is found."""
    came = row(Scripted(events=spoil), f"responses stream {case}")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason
