"""Chat completions that are not as they should be."""

import pytest

from serve_app.conformance.matrix import Outcome
from tests.serve_app.conformance.scripted import Scripted
from tests.serve_app.conformance.spoil import GONE, Spoil, SpoilEvents, event, put, row, without

MESSAGE = "choices.0.message"


@pytest.mark.parametrize(
    ("spoil", "case", "reason"),
    [
        (put("id", GONE), "none plain", "id: is missing"),
        (put("object", "completion"), "none plain", "object: must be 'chat.completion', not 'completion'"),
        (put("choices", []), "none plain", "choices: must be one"),
        (put("choices.0.index", 1), "none plain", "choices: must be one"),
        (put("choices.0.finish_reason", "eos"), "none plain", "choices.0.finish_reason: must be 'stop' or"),
        (put("choices.0.finish_reason", "tool_calls"), "none plain", "finish reason: is tool_calls with 0"),
        (put("choices.0.finish_reason", "stop"), "none tool", "finish reason: is stop with 1 tool calls"),
        (put(f"{MESSAGE}.role", "user"), "none plain", f"{MESSAGE}.role: must be 'assistant'"),
        (put(f"{MESSAGE}.content", ["x"]), "none plain", f"{MESSAGE}.content: must be a string"),
        (put(f"{MESSAGE}.content", GONE), "none plain", f"{MESSAGE}.content: is missing"),
        (
            put(f"{MESSAGE}.reasoning_content", "other"),
            "high plain",
            "reasoning and reasoning_content differ",
        ),
        (put(f"{MESSAGE}.reasoning", "hm"), "none plain", "reasoning: is there at effort none: 'hm'"),
        (put(f"{MESSAGE}.tool_calls.0.type", "tool"), "none tool", "type: must be 'function'"),
        (put(f"{MESSAGE}.tool_calls.0.id", ""), "none tool", "tool_calls.0.id: must not be empty"),
        (put(f"{MESSAGE}.tool_calls.1.id", "call_0"), "none parallel", "is 'call_0', like that of a call"),
        (put(f"{MESSAGE}.tool_calls.0.function.arguments", "{"), "none tool", "arguments: is no JSON"),
        (put(f"{MESSAGE}.tool_calls.0.function.arguments", "[]"), "none tool", "must be an object, not []"),
        (put(f"{MESSAGE}.tool_calls.0.function.arguments", {}), "none tool", "must be a string, not {}"),
        (put("usage.total_tokens", 13), "none plain", "usage.total_tokens: is 13, but its parts make 12"),
        (put("usage.completion_tokens", GONE), "none plain", "usage.completion_tokens: is missing"),
        (put("usage.prompt_tokens", -1), "none plain", "must be a whole number of at least 0, not -1"),
        (put("usage.completion_tokens_details", {"reasoning_tokens": 6}), "high plain", "more than the 5"),
        (put("usage.prompt_tokens_details", {"cached_tokens": 8}), "high plain", "more than the 7"),
    ],
)
def test_whole(spoil: Spoil, case: str, reason: str) -> None:
    """Each fault of a body is found, and its field named."""
    came = row(Scripted(whole=spoil), f"chat whole {case}")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason


@pytest.mark.parametrize(
    ("spoil", "case", "reason"),
    [
        (event(0, put("choices.0.delta.role", GONE)), "none plain", "delta.role: is missing"),
        (event(1, put("id", "chat-2")), "none plain", "id: is 'chat-2', but 'chat-1' before"),
        (event(1, put("object", "chat.completion")), "none plain", "object: must be 'chat.completion.chunk'"),
        (event(1, put("choices.0.finish_reason", "stop")), "none plain", "is 'stop' before the last choice"),
        (without(-2), "none plain", "finish_reason: must be 'stop' or"),
        (without(-1), "none plain", "has no last chunk without choices for the usage"),
        (event(-1, put("usage", GONE)), "none plain", "usage: is missing"),
        (event(-1, put("usage.total_tokens", 1)), "none plain", "total_tokens: is 1, but its parts make 12"),
        (event(1, put("choices.0.delta.reasoning", "hm")), "none plain", "is there at effort none: 'hm'"),
        (event(1, put("choices.0.delta.reasoning_content", "")), "high plain", "reasoning_content differ"),
        (event(1, put("error", {"message": "lost"})), "none plain", "an error: {'message': 'lost'}"),
        (without(2), "none tool", "arguments of call 0: is no JSON"),
        (event(1, put("choices.0.delta.tool_calls.0.id", GONE)), "none tool", "tool_calls.0.id: is missing"),
        (
            event(1, put("choices.0.delta.tool_calls.0.index", 1)),
            "none tool",
            "is 1, but 0 calls came before",
        ),
        (event(2, put("choices.0.delta.tool_calls.0.id", "x")), "none tool", "the call's id was 'call_0'"),
        (lambda events: [], "none plain", "has no last chunk"),
    ],
)
def test_stream(spoil: SpoilEvents, case: str, reason: str) -> None:
    """Each fault of a stream is found, and the event and its field named."""
    came = row(Scripted(events=spoil), f"chat stream {case}")
    assert came.outcome is Outcome.FAILED
    assert reason in came.reason


def test_no_done() -> None:
    """A stream that ends without [DONE] has broken off."""
    came = row(Scripted(says_done=False), "chat none stream plain")
    assert came.outcome is Outcome.FAILED
    assert came.reason.startswith("stream: does not end in [DONE] but in '{")


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_one_name_of_reasoning_is_enough(name: str) -> None:
    """Servers that have one of the two names only are as good."""
    came = row(Scripted(whole=put(f"{MESSAGE}.{name}", GONE)), "chat high whole plain")
    assert (came.outcome, came.reason) == (Outcome.OK, "")
