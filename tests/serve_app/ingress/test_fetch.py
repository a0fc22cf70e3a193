"""Fetching an image: what is connected to, what is refused, and what a hostile server gets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore
import pytest

from serve_app.config import ImagePolicy
from serve_app.ingress.addresses import SystemResolver
from serve_app.ingress.fetch import Fetcher
from serve_app.ingress.image_rules import Budget, Refused, Rule
from tests.serve_app.ingress.web import (
    OTHER_PUBLIC,
    PUBLIC,
    Authority,
    Page,
    Web,
    authority,
    ok,
    picture,
    redirect,
    serving,
)

PICTURE = picture()
POLICY = ImagePolicy()
NAMES: dict[str, list[list[str]]] = {
    "example.com": [[PUBLIC]],
    "www.example.com": [[OTHER_PUBLIC, PUBLIC]],
    "other.org": [[PUBLIC]],
    "wrong-certificate.org": [[PUBLIC]],
    "inside.example.com": [["10.0.0.7"]],
    "metadata.example.com": [["169.254.169.254"]],
    "half.example.com": [[PUBLIC, "127.0.0.1"]],
    "mapped.example.com": [["::ffff:127.0.0.1"]],
    "empty.example.com": [[]],
    "rebinding.example.com": [[PUBLIC], ["127.0.0.1"]],
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates for some of the names."""
    return authority(tmp_path_factory.mktemp("tls"), ["example.com", "*.example.com", "other.org"])


@asynccontextmanager
async def web(certificates: Authority, pages: dict[str, Page]) -> AsyncIterator[Web]:
    """Serve these pages under every name."""
    async with serving(Web(pages, NAMES), certificates.server) as served:
        yield served


async def fetch(
    served: Web, tls: ssl.SSLContext, url: str = "https://example.com/a", policy: ImagePolicy = POLICY
) -> bytes:
    """Fetch one image through the web."""
    return await Fetcher(policy, served.resolve, served, tls).fetch(url, Budget(policy))


async def refusal(
    certificates: Authority,
    pages: dict[str, Page],
    url: str = "https://example.com/a",
    policy: ImagePolicy = POLICY,
) -> tuple[Rule, str, Web]:
    """Return which rule refuses a URL, in which words, and the web afterwards."""
    async with web(certificates, pages) as served:
        with pytest.raises(Refused) as refused:
            await fetch(served, certificates.client, url, policy)
    return refused.value.rule, str(refused.value), served


async def test_an_image(certificates: Authority) -> None:
    """The image arrives; the checked address is connected to, under the name's own certificate and Host."""
    async with web(certificates, {"/a?b=%20c": ok(PICTURE)}) as served:
        assert await fetch(served, certificates.client, "https://Example.com/a?b=%20c#d") == PICTURE
    assert served.looked_up == ["example.com"]
    assert served.connected == [(PUBLIC, 443)]
    assert served.server_names == ["example.com"]
    assert served.requests == [("example.com", "/a?b=%20c")]
    names = {line.split(":")[0].lower() for line in served.heads[0].strip().split("\r\n")[1:]}
    assert names == {"host", "accept", "accept-encoding", "connection", "user-agent"}


async def test_another_port(certificates: Authority) -> None:
    """An allowed port is connected to, and stands in the Host header."""
    async with web(certificates, {"/a": ok(PICTURE)}) as served:
        policy = ImagePolicy(ports=(443, 8443))
        assert await fetch(served, certificates.client, "https://example.com:8443/a", policy) == PICTURE
    assert (served.connected, served.requests) == ([(PUBLIC, 8443)], [("example.com:8443", "/a")])


async def test_the_next_address(certificates: Authority) -> None:
    """When one checked address does not accept, the next one of the same look-up is tried."""
    async with web(certificates, {"/a": ok(PICTURE)}) as served:
        served.unreachable = frozenset({OTHER_PUBLIC})
        assert await fetch(served, certificates.client, "https://www.example.com/a") == PICTURE
    assert served.connected == [(OTHER_PUBLIC, 443), (PUBLIC, 443)]
    assert served.looked_up == ["www.example.com"]


@pytest.mark.parametrize(
    "host", ["inside", "metadata", "half", "mapped", "empty", "unknown"], ids=lambda host: f"{host}"
)
async def test_hosts_that_are_not_public(certificates: Authority, host: str) -> None:
    """One address that is not public is enough; nothing is connected to, and no address is told.

    A name that does not exist gets the same words: they do not tell which names exist inside.
    """
    name = f"{host}.example.com"
    rule, message, served = await refusal(certificates, {}, f"https://{name}/a")
    assert (rule, served.connected) == (Rule.ADDRESS, [])
    assert message == f"host '{name}' has no address, or not only public ones; ingress.images.https=public"


@pytest.mark.parametrize(
    "literal", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "[::1]", "[fd00:ec2::254]", "[::ffff:a00:1]"]
)
async def test_addresses_in_the_url(certificates: Authority, literal: str) -> None:
    """An address that the client writes itself is checked as well."""
    rule, _, served = await refusal(certificates, {}, f"https://{literal}/a")
    assert rule in (Rule.ADDRESS, Rule.HOST)
    assert served.connected == []


async def test_rebinding(certificates: Authority) -> None:
    """A name is looked up once a hop, and that answer is connected to; the next answer is checked anew."""
    url = "https://rebinding.example.com/a"
    async with web(certificates, {"/a": ok(PICTURE)}) as served:
        assert await fetch(served, certificates.client, url) == PICTURE
        assert served.looked_up == ["rebinding.example.com"]
        with pytest.raises(Refused) as refused:
            await fetch(served, certificates.client, url)
    assert refused.value.rule is Rule.ADDRESS
    assert served.connected == [(PUBLIC, 443)]


async def test_rebinding_over_a_redirect(certificates: Authority) -> None:
    """A redirect to the same name resolves it again, and that answer has to be public too."""
    pages: dict[str, Page] = {"/a": redirect("/b"), "/b": ok(PICTURE)}
    rule, _, served = await refusal(certificates, pages, "https://rebinding.example.com/a")
    assert (rule, served.connected) == (Rule.ADDRESS, [(PUBLIC, 443)])
    assert served.requests == [("rebinding.example.com", "/a")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects(certificates: Authority, status: int) -> None:
    """A redirect is followed, relative or to another host; nothing of the first host goes along."""
    first = ok(b"", "location: //other.org/b", "set-cookie: a=b", status=f"{status} Moved")
    async with web(certificates, {"/a": first, "/b": redirect("c"), "/c": ok(PICTURE)}) as served:
        assert await fetch(served, certificates.client) == PICTURE
    assert served.requests == [("example.com", "/a"), ("other.org", "/b"), ("other.org", "/c")]
    assert served.server_names == ["example.com", "other.org", "other.org"]
    assert not any("cookie" in head.lower() or "referer" in head.lower() for head in served.heads)


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("https://inside.example.com/", Rule.ADDRESS),
        ("https://127.0.0.1/", Rule.ADDRESS),
        ("https://169.254.169.254/latest/meta-data/", Rule.ADDRESS),
        ("https://[::1]/", Rule.ADDRESS),
        ("http://other.org/", Rule.SCHEME),
        ("file:///etc/passwd", Rule.SCHEME),
        ("data:image/png;base64,AAAA", Rule.SCHEME),
        ("https://other.org:6379/", Rule.PORT),
        ("https://localhost/", Rule.HOST),
        ("https://2130706433/", Rule.HOST),
        ("https://user:pass@other.org/", Rule.URL),
        ("https://[", Rule.URL),
    ],
)
async def test_redirects_to_where_nobody_may_go(certificates: Authority, location: str, rule: Rule) -> None:
    """Every hop keeps every rule: scheme, host, port and address. The hop that breaks one gets nothing."""
    refused, _, served = await refusal(certificates, {"/a": redirect(location)})
    assert (refused, served.connected) == (rule, [(PUBLIC, 443)])


async def test_redirects_off_the_list(certificates: Authority) -> None:
    """The list of hosts holds for redirects too."""
    policy = ImagePolicy(hosts=("example.com",))
    rule, message, served = await refusal(
        certificates, {"/a": redirect("https://other.org/b")}, policy=policy
    )
    assert (rule, len(served.connected)) == (Rule.HOST, 1)
    assert message == (
        "host 'example.com' redirects elsewhere: host 'other.org' is not allowed; "
        "ingress.images.hosts allows example.com"
    )


@pytest.mark.parametrize("allowed", [0, 2])
async def test_redirects_without_end(certificates: Authority, allowed: int) -> None:
    """After the allowed redirects there is an end."""
    rule, message, served = await refusal(
        certificates, {"/a": redirect("/a")}, policy=ImagePolicy(max_redirects=allowed)
    )
    assert (rule, len(served.requests)) == (Rule.REDIRECTS, allowed + 1)
    assert f"max_redirects allows {allowed}" in message


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


async def test_nothing_reaches_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """With real sockets and the real resolver a server on loopback hears nothing, however it is named."""
    num_connections = 0

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    policy = ImagePolicy(ports=(443, port))
    tls = ssl.create_default_context()

    async def inside(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    real = Fetcher(policy, SystemResolver(), httpcore.AnyIOBackend(), tls)
    fooled = Fetcher(policy, inside, httpcore.AnyIOBackend(), tls)
    hosts = (
        "127.0.0.1",
        "localhost",
        "localhost.localdomain",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    )
    odd = ("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "0", "127.0.0.1.", "a@127.0.0.1")
    async with server:
        for host in (*hosts, *odd):
            with pytest.raises(Refused):
                await real.fetch(f"https://{host}:{port}/", Budget(policy))
        with pytest.raises(Refused):
            await fooled.fetch(f"https://example.com:{port}/", Budget(policy))
        assert num_connections == 0
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        assert num_connections == 1  # it would have counted
        writer.close()
