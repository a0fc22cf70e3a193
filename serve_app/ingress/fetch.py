"""How is an image fetched for a client, without becoming the client's hand in our network?

Every hop is one connection of its own: rules for the URL, then one look-up of its host, then a connection
to an address that this very look-up gave and that was found public. What is checked is what is connected
to, so a name that answers differently the next time gains nothing. Neither proxies nor credentials of the
environment are used; httpcore knows of none.
"""

import ssl
from collections.abc import Iterable
from urllib.parse import urljoin

import httpcore
import httpx

from serve_app.config import ImagePolicy
from serve_app.ingress import addresses, image_rules
from serve_app.ingress.addresses import Resolve
from serve_app.ingress.image_rules import Budget, Refused, Rule, shown

CONNECT_TIMEOUT_S = 3.0
"""How long one address may take to accept, if the host has others."""
MAX_ADDRESSES = 4
"""How many addresses of a host are tried."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = (
    (b"Accept", b"image/png, image/jpeg, image/webp, image/gif"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
    (b"User-Agent", b"Venturi"),
)


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to hosts all of whose addresses are public, and only to these addresses."""

    def __init__(self, resolve: Resolve, network: httpcore.AsyncNetworkBackend) -> None:
        self._resolve = resolve
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve `host` once, check every address, connect to the first that accepts."""
        found = [host] if addresses.literal(host) else await self._look_up(host, port)
        if not found or not all(map(addresses.is_public, found)):
            # The same words for both, or they would tell which names exist inside.
            raise Refused(
                Rule.ADDRESS,
                f"host {shown(host)} has no address, or not only public ones; ingress.images.https=public",
            )
        for address in found[:MAX_ADDRESSES]:
            try:
                return await self._network.connect_tcp(
                    address, port, CONNECT_TIMEOUT_S, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        raise httpcore.ConnectError("no address accepted")

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            return await self._resolve(host, port)
        except (OSError, UnicodeError):
            return []


class Fetcher:
    """Fetches images under a policy."""

    def __init__(
        self,
        policy: ImagePolicy,
        resolve: Resolve,
        network: httpcore.AsyncNetworkBackend,
        tls: ssl.SSLContext,
    ) -> None:
        self._policy = policy
        self._network = PublicOnly(resolve, network)
        self._tls = tls

    async def fetch(self, url: str, budget: Budget) -> bytes:
        """Return what is at `url`. Raises Refused. The caller sets the time."""
        at = image_rules.remote(url, self._policy)
        for _ in range(self._policy.max_redirects + 1):
            try:
                answer = await self._hop(at, budget)
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError):
                raise Refused(Rule.UNREACHABLE, f"host {shown(at.host)} did not give an answer") from None
            if isinstance(answer, bytes):
                return answer
            at = answer
        allowed = self._policy.max_redirects
        raise Refused(
            Rule.REDIRECTS,
            f"the URL redirects more than {allowed} times; ingress.images.max_redirects allows {allowed}",
        )

    async def _hop(self, url: httpx.URL, budget: Budget) -> bytes | httpx.URL:
        """Return the content, or where it is instead."""
        port = 443 if url.port is None else url.port
        origin = httpcore.Origin(b"https", url.raw_host, port)
        target = httpcore.URL(scheme=b"https", host=url.raw_host, port=port, target=url.raw_path)
        headers = [(b"Host", url.netloc), *HEADERS]
        async with (
            httpcore.AsyncHTTPConnection(
                origin, ssl_context=self._tls, network_backend=self._network
            ) as connection,
            connection.stream("GET", target, headers=headers) as response,
        ):
            if response.status in REDIRECTS:
                return self._redirected(url, _header(response, b"location"))
            if response.status != 200:
                raise Refused(
                    Rule.STATUS, f"host {shown(url.host)} answered with status {response.status}, not 200"
                )
            return await self._content(response, budget)

    def _redirected(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            to = urljoin(str(url), location)
        except ValueError:
            raise Refused(Rule.URL, f"host {shown(url.host)} redirects to no valid URL") from None
        try:
            return image_rules.remote(to, self._policy)
        except Refused as refused:
            raise Refused(refused.rule, f"host {shown(url.host)} redirects elsewhere: {refused}") from None

    async def _content(self, response: httpcore.Response, budget: Budget) -> bytes:
        if (encoding := _header(response, b"content-encoding").lower()) not in ("", "identity"):
            raise Refused(
                Rule.ENCODING,
                f"the image comes with content-encoding {shown(encoding)}; only identity is allowed",
            )
        declared = _header(response, b"content-length")
        if declared.isdecimal():
            image_rules.check_bytes(int(declared), self._policy)
        content = bytearray()
        async for chunk in response.aiter_stream():
            image_rules.check_bytes(len(content) + len(chunk), self._policy)
            budget.take(len(chunk))
            content += chunk
        return bytes(content)


def _header(response: httpcore.Response, name: bytes) -> str:
    values = (value for key, value in response.headers if key.lower() == name)
    return next(values, b"").decode("latin-1").strip()
