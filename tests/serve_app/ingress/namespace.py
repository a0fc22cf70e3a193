"""What does fetching reach in a network of its own? (`unshare --map-root-user --net --mount python -m` this)

It has one public address, with a web server, and inside addresses that only note who connects. Resolver and
sockets are the system's; names stand in a hosts file. Prints JSON: what was fetched, what was refused, and
which inside addresses were connected to, before and after a connection that shows that they would note it.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import httpcore

from serve_app.config import ImagePolicy
from serve_app.ingress.addresses import SystemResolver
from serve_app.ingress.fetch import Fetcher
from serve_app.ingress.image_rules import Budget, Refused
from tests.serve_app.ingress.web import Page, Web, authority, ok, picture, redirect

PUBLIC = "8.8.8.8"
INSIDE = ("127.0.0.1", "::1", "10.0.0.7", "169.254.169.254")
NAMES = {
    "example.com": [PUBLIC],
    "inside.example.com": ["10.0.0.7"],
    "metadata.example.com": ["169.254.169.254"],
    "half.example.com": [PUBLIC, "127.0.0.1"],
}
TRAPS = (
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.0.0.1/",
    "https://localhost/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://10.0.0.7/",
    "https://169.254.169.254/latest/meta-data",
    "https://inside.example.com/",
    "https://metadata.example.com/",
    "https://half.example.com/",
    "http://127.0.0.1:443/",
)
POLICY = ImagePolicy()


def say(hosts: Path, names: dict[str, list[str]]) -> None:
    """Have these names resolve, and `localhost`. The resolver asks for absolute names, with a dot."""
    lines = [f"{address} {name}." for name, found in names.items() for address in found]
    hosts.write_text("\n".join(["127.0.0.1 localhost", "::1 localhost", *lines, ""]))


def prepare(hosts: Path) -> None:
    """Give this namespace its addresses, and its hosts file."""
    say(hosts, NAMES)
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (PUBLIC, *(a for a in INSIDE if a not in ("127.0.0.1", "::1"))):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


async def tried(folder: Path, hosts: Path) -> dict[str, object]:
    """Try every trap: as it is, behind a redirect, and as a name that changes between two hops."""
    certificates = authority(folder, NAMES)
    reached: list[str] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer.get_extra_info("sockname")[0])
        writer.close()

    async def rebind(writer: asyncio.StreamWriter) -> None:
        say(hosts, {**NAMES, "example.com": ["127.0.0.1"]})
        writer.write(redirect("https://example.com/a"))
        await writer.drain()

    pages: dict[str, Page] = {"/a": ok(picture()), "/rebind": rebind}
    pages |= {f"/{number}": redirect(trap) for number, trap in enumerate(TRAPS)}
    web = Web(pages, {})
    fetcher = Fetcher(POLICY, SystemResolver(), httpcore.AnyIOBackend(), certificates.client)

    async def fetched(url: str) -> bool:
        try:
            return await fetcher.fetch(url, Budget(POLICY)) == picture()
        except Refused:
            return False

    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(
            await asyncio.start_server(web.serve, PUBLIC, 443, ssl=certificates.server)
        )
        for address in INSIDE:
            await stack.enter_async_context(await asyncio.start_server(note, address, 443))
        urls = [*TRAPS, *(f"https://example.com/{number}" for number in range(len(TRAPS)))]
        found = {
            url: await fetched(url) for url in ["https://example.com/a", *urls, "https://example.com/rebind"]
        }
        before = list(reached)
        for address in INSIDE:
            reader, writer = await asyncio.open_connection(address, 443)
            await reader.read()
            writer.close()
        return {"fetched": found, "reached": before, "control": reached, "asked": web.requests}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    prepare(folder / "hosts")
    print(json.dumps(asyncio.run(tried(folder, folder / "hosts"))))
