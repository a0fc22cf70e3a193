"""Asking a server: its card, its keys, its time."""

import httpx
import pytest

from serve_app.conformance.cases import RAW
from serve_app.conformance.dialects import DIALECTS, Ask
from serve_app.conformance.server import Broken, Server, Unreachable
from tests.serve_app.conformance.scripted import Scripted


def server(scripted: httpx.BaseTransport, key: str | None = None, timeout_s: float = 5.0) -> Server:
    """The server over that transport."""
    return Server(httpx.Client(base_url="http://scripted", transport=scripted), key, timeout_s)


def test_card() -> None:
    """By default the first model; a name without a card is taken at its word."""
    assert server(Scripted()).card(None) == {"id": "scripted", "max_model_len": 30_000}
    assert server(Scripted()).card("scripted")["max_model_len"] == 30_000
    assert server(Scripted()).card("other") == {"id": "other"}
    without = Scripted(instead=lambda request: httpx.Response(404, text="?"))
    assert server(without).card("other") == {"id": "other"}
    with pytest.raises(
        Unreachable, match=r"http://scripted/v1/models names no model \(404\); say which by --model"
    ):
        server(without).card(None)


def test_keys() -> None:
    """A key is sent where the dialect has its place."""
    seen: dict[str, httpx.Headers] = {}

    def instead(request: httpx.Request) -> None:
        seen[request.url.path] = request.headers

    asked = server(Scripted(instead=instead), key="k1")
    asked.card(None)
    for dialect in DIALECTS:
        asked.offers(dialect, "scripted")
    messages = seen.pop("/v1/messages")
    assert (messages["x-api-key"], messages["anthropic-version"]) == ("k1", "2023-06-01")
    assert {path: headers["authorization"] for path, headers in seen.items()} == dict.fromkeys(
        ("/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/responses"), "Bearer k1"
    )


def test_a_stream_without_end() -> None:
    """The time is for the whole answer, however often a byte comes."""

    class Dripping(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            while True:
                yield b": still here\n\n"

    stream = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Dripping())
    asked = server(Scripted(instead=lambda request: stream), timeout_s=0.05)
    with pytest.raises(Broken, match=r"the stream has not ended within 0.05 s"):
        asked.streamed(DIALECTS[0], Ask("scripted", RAW, "none", 16))
