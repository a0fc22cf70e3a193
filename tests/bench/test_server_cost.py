"""Does the benchmark of the server's cost bring the tokens that it says, and count what came?"""

import json
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.types import Call, Head
from tests.bench import server_cost
from tests.bench.server_cost import ReadyCore

EVENT = b'data: {"choices":[{"text":"abcd"}]}\n\n'
DONE = b"data: [DONE]\n\n"


def call(num_tokens: int) -> Call:
    """A request for so many tokens."""
    return Call("POST", "/v1/completions", (), json.dumps({"max_tokens": num_tokens}).encode())


class Server:
    """Answers with these bytes, after 2 ms of processor time."""

    def __init__(self, *items: bytes) -> None:
        self._items = items

    async def call(self, call: Call) -> AsyncIterator[Head | bytes]:
        """Answer as a replica's server does."""
        until_s = time.process_time() + 0.002
        while time.process_time() < until_s:
            pass
        yield Head(200, ())
        for item in self._items:
            yield item


async def test_each_request_gets_its_tokens() -> None:
    """A token a step each, the last one with the reason to end; one that is aborted gets no more."""
    core = ReadyCore([7, 8])
    for name, num_tokens in (("a", 1), ("b", 3), ("c", 9)):
        asked = SimpleNamespace(request_id=name, sampling_params=SimpleNamespace(max_tokens=num_tokens))
        await core.add_request_async(asked)
    first = (await core.get_output_async()).outputs
    assert [(each.request_id, each.finished) for each in first] == [("a", True), ("b", False), ("c", False)]
    await core.abort_requests_async(["c", "gone"])
    rest: list[Any] = [(await core.get_output_async()).outputs for _ in range(2)]
    assert [[(each.request_id, each.finished) for each in outputs] for outputs in rest] == [
        [("b", False)],
        [("b", True)],
    ]
    assert {token for outputs in (first, *rest) for each in outputs for token in each.new_token_ids} == {7, 8}


async def test_the_cost_is_a_requests() -> None:
    """Processor time over the number of requests."""
    cost_ms = await server_cost.cost_ms(Server(EVENT + EVENT, DONE), call(8), 5)
    assert 2.0 <= cost_ms < 20.0


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ((EVENT, EVENT), RuntimeError),
        ((b'{"error":{"message":"no"}}',), RuntimeError),
        ((b'data: {"error":{"message":"no"}}\n\n', DONE), RuntimeError),
        ((EVENT, DONE), AssertionError),
    ],
    ids=["no end", "refused", "failed", "two chunks in one"],
)
async def test_what_went_wrong_is_no_figure(items: tuple[bytes, ...], error: type[Exception]) -> None:
    """An answer that was not all there cost less."""
    with pytest.raises(error):
        await server_cost.cost_ms(Server(*items), call(8), 2)


def test_the_table_has_a_row_a_setting() -> None:
    """Costs in ms."""
    rows = server_cost.table({"before": {"/chat": 22.04, "/ids": 12.7}, "after": {"/chat": 9, "/ids": 5.55}})
    assert rows.splitlines() == [
        "| | `/chat`, ms | `/ids`, ms |",
        "|---|---:|---:|",
        "| before | 22.0 | 12.7 |",
        "| after | 9.0 | 5.5 |",
    ]
