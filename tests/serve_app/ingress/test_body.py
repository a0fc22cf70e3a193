"""The request body: read once, under the limit, and a JSON object."""

from typing import Any

import pytest
from starlette.requests import Request

from serve_app.errors import BodyTooLarge, InvalidRequest
from serve_app.ingress import body


def request(*chunks: bytes, length: str | None = None) -> Request:
    """Return a request whose body comes in these chunks, with the length that the client declares."""
    messages = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    headers = [] if length is None else [(b"content-length", length.encode("latin-1"))]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


@pytest.mark.parametrize(
    ("chunks", "length"),
    [((b"ab", b"cd"), None), ((b"abcd",), "4"), ((b"abcd",), "none of your business"), ((b"abcd",), "\xb2")],
)
async def test_up_to_the_limit(chunks: tuple[bytes, ...], length: str | None) -> None:
    """A body of exactly the limit is read whole, whether its length is declared or not."""
    assert await body.read(request(*chunks, length=length), 4) == b"abcd"


async def test_a_declared_length_over_the_limit() -> None:
    """A body that is declared too long is refused before a byte of it is read."""

    async def receive() -> dict[str, Any]:
        raise AssertionError("read")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"5")]}
    with pytest.raises(BodyTooLarge) as refused:
        await body.read(Request(scope, receive), 4)
    assert refused.value.message == "the request body has 5 bytes; ingress.max_body_bytes allows 4"
    assert refused.value.param == "body"


@pytest.mark.parametrize("length", [None, "1"])
async def test_a_stream_over_the_limit(length: str | None) -> None:
    """A body that turns out too long is refused at the chunk that passes the limit, whatever was declared."""
    with pytest.raises(BodyTooLarge) as refused:
        await body.read(request(b"abc", b"de", b"never read", length=length), 4)
    assert refused.value.message == "the request body has more than 3 bytes; ingress.max_body_bytes allows 4"


def test_an_object() -> None:
    """A JSON object comes out as a mapping."""
    assert body.parse(b'{"model": "m", "n": [1]}') == {"model": "m", "n": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the request body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"a": ', "the request body is not JSON: Expecting value: line 1 column 7 (char 6)"),
        (b"\xff\xfe\xfd", "the request body is not JSON: "),
        (b"[" * 100_000, "the request body is not JSON: "),
        (b'{"n": ' + b"1" * 5000 + b"}", "the request body is not JSON: "),
        (b"[1]", "the request body must be a JSON object, not list"),
        (b'"text"', "the request body must be a JSON object, not str"),
        (b"null", "the request body must be a JSON object, not NoneType"),
    ],
)
def test_anything_else_is_refused(text: bytes, message: str) -> None:
    """What is no JSON object is the client's mistake, and the answer says where it is broken."""
    with pytest.raises(InvalidRequest) as refused:
        body.parse(text)
    assert refused.value.message.startswith(message)
    assert refused.value.param == "body"


@pytest.mark.parametrize(
    "text", [b'{"a":[1,2.5,null,true]}', b'{"a":"\\ud800 \\u00fc"}', '{"a":"ü"}'.encode(), b'{"n":NaN}']
)
def test_serialised_and_parsed_again(text: bytes) -> None:
    """A body that was changed says the same of everything else, lone surrogates and all."""
    again = body.serialise(body.parse(text))
    assert again.isascii()
    assert repr(body.parse(again)) == repr(body.parse(text))


def test_nested_too_deeply() -> None:
    """A body that could be read but not written is the client's mistake as well."""
    deep: dict[str, object] = {}
    for _ in range(200_000):
        deep = {"a": deep}
    with pytest.raises(InvalidRequest, match="too deeply"):
        body.serialise(deep)
