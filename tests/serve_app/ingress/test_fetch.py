"""Fetching an image: what is connected to, over redirects too, and what is refused."""

import asyncio
import ssl

import httpcore
import pytest

from serve_app.config import ImagePolicy
from serve_app.ingress.addresses import SystemResolver
from serve_app.ingress.fetch import Fetcher
from serve_app.ingress.image_rules import Budget, Refused, Rule
from tests.serve_app.ingress.fetching import PICTURE, fetch, refusal, web
from tests.serve_app.ingress.web import OTHER_PUBLIC, PUBLIC, Authority, Page, ok, redirect


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
