"""Does the client send what an example asks, keep its bounds, and judge what comes back, whatever that is?"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from deploy.pocket import ask
from deploy.pocket.ask import MAX_TOKENS, ask_all, counters, drafting, judged, model_name
from deploy.pocket.families.example import Example, ToolCall
from deploy.pocket.score import Drafting

SUM = Example(
    "arithmetic.one_step", {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}, "5", key=(2, "+", 3)
)
CALL = Example(
    "tools.seen",
    {"messages": [{"role": "user", "content": "Weather in Oslo"}], "reasoning_effort": "high"},
    None,
    reasoning="I need get_weather for Oslo.",
    tool_calls=(ToolCall("get_weather", {"city": "Oslo"}),),
)
METRICS = """
# TYPE vllm:spec_decode_num_drafts counter
vllm:spec_decode_num_drafts_total{pool="latency",engine="0"} 40.0
vllm:spec_decode_num_drafts_total{pool="latency",engine="1"} 60.0
# TYPE vllm:spec_decode_num_draft_tokens counter
vllm:spec_decode_num_draft_tokens_total{pool="latency",engine="0"} 120.0
# TYPE vllm:spec_decode_num_accepted_tokens counter
vllm:spec_decode_num_accepted_tokens_total{pool="latency",engine="0"} 90.0
# TYPE vllm:spec_decode_num_accepted_tokens_per_pos counter
vllm:spec_decode_num_accepted_tokens_per_pos_total{pool="latency",position="0",engine="0"} 30.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{pool="latency",position="1",engine="0"} 20.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{pool="latency",position="0",engine="1"} 7.0
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{pool="latency"} 3.0
"""

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler) -> httpx.AsyncClient:
    """A client whose requests `handler` answers."""
    return httpx.AsyncClient(base_url="http://venturi", transport=httpx.MockTransport(handler))


def completion(content: str | None, finish_reason: str = "stop", num_tokens: int = 2) -> dict[str, Any]:
    """A chat completion with one choice."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": {"completion_tokens": num_tokens}}


async def test_a_request_is_the_example_and_the_sampling() -> None:
    """The body has the example's fields as they are, the model, the temperature, the limit and a seed."""
    bodies: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/chat/completions"
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json=completion("5"))

    async with client(handler) as http:
        asked = await ask_all(http, "pocket", [SUM, CALL], 0.7, concurrency=1)
    sampling = {"model": "pocket", "temperature": 0.7, "max_tokens": MAX_TOKENS}
    assert bodies == [SUM.request | sampling | {"seed": 0}, CALL.request | sampling | {"seed": 1}]
    assert [one.answer.is_right for one in asked] == [True, False]


async def test_answers_keep_the_order_and_the_bound() -> None:
    """Answers stand at their questions' places however late they come; no more run at once than allowed."""
    running, most, done = 0, 0, 0
    questions = [Example("strings", {"messages": [{"content": str(n)}]}, str(n)) for n in range(20)]

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        number = json.loads(request.content)["messages"][0]["content"]
        await asyncio.sleep(0.001 * (int(number) % 4))
        running -= 1
        return httpx.Response(200, json=completion(number))

    def count() -> None:
        nonlocal done
        done += 1

    transport = httpx.MockTransport(handler)
    async with httpx.AsyncClient(base_url="http://venturi", transport=transport) as http:
        asked = await ask_all(http, "pocket", questions, 0.0, 4, count)
    assert [one.example for one in asked] == questions
    assert all(one.answer.is_right for one in asked)
    assert (most, done) == (4, 20)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(400, json={"error": {"message": "no such effort"}}), "400: no such effort"),
        (httpx.Response(503, text="busy"), "503: busy"),
        (httpx.Response(500, json=["odd"]), '500: ["odd"]'),
    ],
)
async def test_a_refusal_is_a_wrong_answer(response: httpx.Response, error: str) -> None:
    """Status and message are kept; it is neither right nor ended."""
    async with client(lambda _: response) as http:
        (one,) = await ask_all(http, "pocket", [SUM], 0.0, 1)
    assert one.message is None
    assert one.answer.error == error
    assert not one.answer.is_right
    assert not one.answer.has_ended
    assert one.story()["error"] == error


async def test_a_broken_connection_is_a_wrong_answer() -> None:
    """The other questions are asked all the same."""

    def handler(request: httpx.Request) -> httpx.Response:
        if b"Oslo" in request.content:
            raise httpx.ReadError("gone", request=request)
        return httpx.Response(200, json=completion("5"))

    async with client(handler) as http:
        failed, fine = await ask_all(http, "pocket", [CALL, SUM], 0.0, 1)
    assert failed.answer.error == "ReadError: gone"
    assert fine.answer.is_right


@pytest.mark.parametrize(
    ("finish_reason", "num_tokens", "has_ended"),
    [
        ("stop", 3, True),
        ("tool_calls", 30, True),
        ("length", MAX_TOKENS, False),
        ("tool_calls", MAX_TOKENS, False),
    ],
)
def test_what_was_cut_off_has_not_ended(finish_reason: str, num_tokens: int, has_ended: bool) -> None:
    """An answer at the limit has not ended, even where the server says that it called a tool."""
    assert judged(SUM, completion("5", finish_reason, num_tokens)).answer.has_ended is has_ended


def test_calls_are_judged_by_the_example() -> None:
    """The right call is right, and the story shows both sides."""
    answer = completion(None, "tool_calls")
    call = {
        "id": "a",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
    }
    answer["choices"][0]["message"]["tool_calls"] = [call]
    one = judged(CALL, answer)
    assert one.answer.is_right
    story = one.story()
    assert story["right"] == [{"name": "get_weather", "arguments": {"city": "Oslo"}}]
    assert story["tool_calls"] == [call["function"]]


def test_a_story_leaves_out_pictures() -> None:
    """Only the text of a question with an image is told."""
    parts = [{"type": "image_url", "image_url": {"url": "data:..."}}, {"type": "text", "text": "How many?"}]
    example = Example("pictures.shapes", {"messages": [{"role": "user", "content": parts}]}, "2")
    assert judged(example, completion("3")).story()["asked"] == "How many?"


def test_counters_add_up_over_engines() -> None:
    """All engines' drafts and acceptances count, position by position."""
    assert counters(METRICS) == Drafting(100, 90, (37, 20))
    assert counters("") == Drafting()


async def test_counters_are_read_until_they_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is counted late is waited for."""
    monkeypatch.setattr(ask, "SETTLE_PERIOD_S", 0.0)
    readings = iter(["", METRICS, METRICS, "not read"])
    async with client(lambda _: httpx.Response(200, text=next(readings))) as http:
        assert await drafting(http) == counters(METRICS)


async def test_counters_that_never_rest_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's requests would be counted too."""
    monkeypatch.setattr(ask, "SETTLE_PERIOD_S", 0.0)
    readings = iter(f"vllm:spec_decode_num_drafts_total {number}" for number in range(100))
    text = "# TYPE vllm:spec_decode_num_drafts counter\n"
    async with client(lambda _: httpx.Response(200, text=f"{text}{next(readings)}\n")) as http:
        with pytest.raises(TimeoutError, match="do not come to rest"):
            await drafting(http)


async def test_the_server_names_the_model() -> None:
    """The first card's id is asked for."""
    async with client(lambda _: httpx.Response(200, json={"data": [{"id": "pocket"}]})) as http:
        assert await model_name(http) == "pocket"
