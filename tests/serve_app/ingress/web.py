"""A small web for tests: names, addresses and one TLS server behind all of them, on loopback."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "2606:4700::1111"

Page = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    """Return an image file."""
    file = BytesIO()
    Image.new("RGB", size, "red").save(file, kind)
    return file.getvalue()


def ok(content: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an HTTP answer."""
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(content)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def redirect(location: str, status: int = 302) -> bytes:
    """Return an HTTP answer that sends the client elsewhere."""
    return ok(b"", f"location: {location}", status=f"{status} Moved")


@dataclass
class Authority:
    """A certificate authority of our own, and a server's certificate for some names."""

    client: ssl.SSLContext
    server: ssl.SSLContext


def authority(folder: Path, names: Iterable[str]) -> Authority:
    """Make a self-signed certificate for `names`, and contexts for both sides."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(secret + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    return Authority(ssl.create_default_context(cadata=pem.decode()), server)


@dataclass
class Web(httpcore.AsyncNetworkBackend):
    """Stands in for resolver and network: every public address is the one server; notes all that is asked.

    `names`: the addresses of each name, one list for each time it is looked up; the last one stays.
    """

    pages: Mapping[str, Page]
    names: Mapping[str, list[list[str]]]
    port: int = 0
    looked_up: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Host header and target of each request."""
    heads: list[str] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    num_open: int = 0
    unreachable: frozenset[str] = frozenset()

    async def resolve(self, host: str, port: int) -> list[str]:
        """Answer a look-up."""
        answers = self.names.get(host)
        if answers is None:
            raise OSError("no such name")
        times = self.looked_up.count(host)
        self.looked_up.append(host)
        return answers[min(times, len(answers) - 1)]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the server, whatever the address."""
        self.connected.append((host, port))
        if host in self.unreachable:
            raise httpcore.ConnectError("unreachable")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request with its page."""
        self.num_open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: "))
            target = head.split(" ")[1]
            self.heads.append(head)
            self.requests.append((host, target))
            page = self.pages.get(target, ok(b"", status="404 Not Found"))
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                await page(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.num_open -= 1
            writer.close()


@asynccontextmanager
async def serving(web: Web, tls: ssl.SSLContext) -> AsyncIterator[Web]:
    """Run the server of a web."""

    def note(_: object, name: str | None, __: object) -> None:
        web.server_names.append(name)

    tls.sni_callback = note
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
