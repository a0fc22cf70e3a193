"""The whole ingress with a server that is not ours as overflow, over a real socket."""

import json

from serve_app.engine.scripted import OK
from serve_app.errors import PoolBusy
from tests.serve_app.engine.upstream.server import (
    DONE,
    data,
    delta,
    events,
    gone,
    serving,
    stream,
    upstream,
    whole,
)
from tests.serve_app.ingress.overflow import beside
from tests.serve_app.samples import api, until

BODY = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
CHAT = "/v1/chat/completions"


async def test_it_serves_when_ours_does_not() -> None:
    """A full home is tried first; the answer from elsewhere has our names of everything, and says why."""
    script = stream(delta(reasoning_content="Hm"), delta(content="Hi"), DONE)
    async with (
        serving(script) as server,
        beside(upstream(server), {"t": [PoolBusy("full")]}) as (parts, http),
    ):
        answer = await http.post(CHAT, json=BODY | {"stream": True})
        assert parts.asked() == ["t"]
        assert parts.num_leases() == {"throughput": 0, "latency": 0, "overflow": 0}
    assert answer.status_code == 200
    assert answer.headers["x-venturi-pool"] == answer.headers["x-venturi-replica"] == "overflow"
    assert answer.headers["x-venturi-reason"] == "no-healthy-replica"
    thought, said, done = events(answer.content)
    assert thought["choices"][0]["delta"] == {"reasoning": "Hm", "reasoning_content": "Hm"}
    assert (said["model"], done) == ("small", "[DONE]")
    asked = {"model": "theirs", "stream": True, "reasoning_effort": "none"}
    assert server.requests[0].said == BODY | asked | {"stream_options": {"include_usage": True}}


async def test_it_gets_nothing_while_ours_serves() -> None:
    """As long as home is well, nothing leaves it."""
    async with serving([None]) as server, beside(upstream(server), {"t": OK}) as (_, http):
        answer = await http.post(CHAT, json=BODY)
        assert answer.headers["x-venturi-pool"] == "throughput"
        assert not server.requests


async def test_its_failure_before_the_first_byte() -> None:
    """Where nobody else can serve, the client gets an error that names the pool and no more of the server."""
    fails = [whole({}, status="500 Oh")]
    async with serving(fails) as server, beside(upstream(server), {}) as (parts, http):
        refused = await http.post(CHAT, json=BODY)
    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "replica_lost"
    assert refused.json()["error"]["message"] == "replica overflow: its server answered with status 500"
    assert parts.counted("venturi_errors_total", status="502", code="replica_lost") == 1


async def test_its_pause_is_the_clients() -> None:
    """Where nobody else can serve, the client is told when to come back."""
    slow = [whole({}, "retry-after: 7", status="429 Slow")]
    async with serving(slow) as server, beside(upstream(server), {}) as (_, http):
        refused = await http.post(CHAT, json=BODY)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
    assert refused.json()["error"]["code"] == "pool_busy"


async def test_a_stream_that_breaks_ends_in_an_error_event() -> None:
    """What came is kept, no [DONE] follows."""
    async with (
        serving(stream(delta(content="a"), 0.05)) as server,
        beside(upstream(server), {}) as (parts, http),
    ):
        answer = await http.post(CHAT, json=BODY | {"stream": True})
    first, error = [json.loads(e.removeprefix("data: ")) for e in answer.text.split("\n\n") if e]
    assert first["choices"][0]["delta"] == {"content": "a"}
    assert error["error"]["code"] == "replica_lost"
    assert parts.counted("venturi_broken_streams_total", pool="overflow", code="replica_lost") == 1


async def test_a_mistake_of_the_client() -> None:
    """A refusal of the request passes with its status, and is not tried elsewhere."""
    refusal = [whole({"message": "n is too large"}, status="400 No")]
    async with serving(refusal) as server, beside(upstream(server), {}) as (_, http):
        answer = await http.post(CHAT, json=BODY)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "n is too large")


async def test_what_it_does_not_speak() -> None:
    """Of a route that it lacks nothing is sent there, also when nobody else can serve."""
    async with serving([None]) as server, beside(upstream(server), {}) as (_, http):
        answer = await http.post("/v1/messages", json={**BODY, "max_tokens": 5})
        assert answer.status_code == 503
        assert "healthy replicas: throughput: 0, latency: 0)" in answer.json()["error"]["message"]
        assert not server.requests


async def test_tokens_are_counted() -> None:
    """The usage of a stream is read off whatever the server sends, like our own."""
    usage = {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}}
    script = stream(delta(content="a"), data(usage), DONE)
    async with serving(script) as server, beside(upstream(server), {}) as (_, http):
        answer = await http.post(
            CHAT, json=BODY | {"stream": True, "stream_options": {"include_usage": True}}
        )
    assert [e for e in events(answer.content) if e != "[DONE]"][-1]["usage"]["total_tokens"] == 3


async def test_the_client_leaves() -> None:
    """A client that is gone before the first byte frees the server too."""
    async with serving([None]) as server, beside(upstream(server), {}) as (parts, _):
        app = api(parts)
        messages = [{"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}]

        async def receive() -> dict[str, object]:
            if messages:
                return messages.pop()
            await until(lambda: bool(server.requests))
            return {"type": "http.disconnect"}

        async def send(_: object) -> None:
            """Take it."""

        scope = {
            "type": "http",
            "method": "POST",
            "path": CHAT,
            "raw_path": CHAT.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
        await gone(server)
        assert parts.num_leases()["overflow"] == 0
