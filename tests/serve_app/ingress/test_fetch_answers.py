"""Fetching an image: what a server may answer, and what a hostile one gets."""

import asyncio
import ssl

import pytest

from serve_app.config import ImagePolicy
from serve_app.ingress.fetch import Fetcher
from serve_app.ingress.image_rules import Budget, Refused, Rule
from tests.serve_app.ingress.fetching import PICTURE, fetch, refusal, web
from tests.serve_app.ingress.web import Authority, ok


async def test_bytes_declared(certificates: Authority) -> None:
    """An answer that says it is too long is not read."""
    page = b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n"
    rule, message, _ = await refusal(certificates, {"/a": page}, policy=ImagePolicy(max_bytes=1000))
    assert rule is Rule.BYTES
    assert message == "the image has at least 5000000 bytes; ingress.images.max_bytes allows 1000"


async def test_bytes_without_end(certificates: Authority) -> None:
    """A server that sends for ever without saying so is left as soon as the limit is passed."""
    sent = 0

    async def forever(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while sent < 50_000_000:
            writer.write(b"2710\r\n" + bytes(10_000) + b"\r\n")
            await writer.drain()
            sent += 10_000

    async with asyncio.timeout(10):
        rule, _, _ = await refusal(certificates, {"/a": forever}, policy=ImagePolicy(max_bytes=100_000))
    assert rule is Rule.BYTES
    assert sent < 20_000_000


async def test_the_requests_sum(certificates: Authority) -> None:
    """What other images of the request have taken is not there for this one."""
    policy = ImagePolicy(max_bytes=1000, max_total_bytes=1000)
    budget = Budget(policy)
    budget.take(1000 - len(PICTURE) + 1)
    async with web(certificates, {"/a": ok(PICTURE)}) as served:
        with pytest.raises(Refused, match="at least 1001 bytes together"):
            await Fetcher(policy, served.resolve, served, certificates.client).fetch(
                "https://example.com/a", budget
            )


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
async def test_packed_answers(certificates: Authority, encoding: str) -> None:
    """A packed answer could unpack to anything; it was not asked for, and is refused."""
    rule, message, _ = await refusal(certificates, {"/a": ok(b"x", f"Content-Encoding: {encoding}")})
    assert rule is Rule.ENCODING
    assert repr(encoding) in message


@pytest.mark.parametrize(
    "status", ["404 Not Found", "500 Oops", "204 No Content", "304 Not Modified", "206 Some"]
)
async def test_other_statuses(certificates: Authority, status: str) -> None:
    """Only 200 is an image."""
    rule, message, _ = await refusal(certificates, {"/a": ok(b"", status=status)})
    assert rule is Rule.STATUS
    assert message == f"host 'example.com' answered with status {status[:3]}, not 200"


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_servers_that_do_not_speak_http(certificates: Authority, page: bytes) -> None:
    """Whatever else a server says is no answer."""
    rule, message, _ = await refusal(certificates, {"/a": page})
    assert (rule, message) == (Rule.UNREACHABLE, "host 'example.com' did not give an answer")


async def test_a_wrong_certificate(certificates: Authority) -> None:
    """The certificate must be for the host in the URL, whatever the address; no request is sent."""
    rule, _, served = await refusal(certificates, {"/a": ok(PICTURE)}, "https://wrong-certificate.org/a")
    assert (rule, served.requests) == (Rule.UNREACHABLE, [])


async def test_an_unknown_authority(certificates: Authority) -> None:
    """A certificate that nobody trusted has signed is refused."""
    async with web(certificates, {"/a": ok(PICTURE)}) as served:
        with pytest.raises(Refused) as refused:
            await fetch(served, ssl.create_default_context())
    assert (refused.value.rule, served.requests) == (Rule.UNREACHABLE, [])
