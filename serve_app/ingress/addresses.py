"""Which addresses may the ingress connect to for a client, and where do they come from?

Everything that is not plainly public is refused: what a client names is fetched from inside the
operator's network. The tables are written out, since what `ipaddress` calls global differs between
Python releases and has holes (6to4, NAT64 and multicast among them).
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""From host name and port to IP addresses as text. Raises OSError when there are none."""

MAX_LOOKUPS = 16
"""Name look-ups at a time. They cannot be cancelled, so slow ones must not take every thread there is."""

NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT; some clouds' metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # a cloud's host service, in public space
            "169.254.0.0/16",  # link-local; most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
GLOBAL_UNICAST_6 = IPv6Network("2000::/3")
NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: has an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as an IPv6-only network sees them; the last 32 bits are what is connected to."""

_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")


def is_public(address: str) -> bool:
    """Say whether an IP address is global unicast and nothing else."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return False
        if ip not in NAT64:
            return ip in GLOBAL_UNICAST_6 and not any(ip in network for network in NOT_PUBLIC_6)
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    return not any(ip in network for network in NOT_PUBLIC_4)


def literal(host: str) -> str | None:
    """Return `host` if it is an IP address in its one canonical spelling, else None."""
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return host if str(ip) == host and getattr(ip, "scope_id", None) is None else None


def is_name(host: str) -> bool:
    """Say whether `host` is a full domain name, in lower-case ASCII.

    One whose last label is a number is none: `127.1`, `0x7f.0.0.1` and `2130706433` are addresses to
    some resolvers. Single labels are none either: they mean something inside a network only.
    """
    return _NAME.fullmatch(host) is not None and not _NUMBER.fullmatch(host.rpartition(".")[2])


class SystemResolver:
    """The operating system's resolver."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="image-lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`, read as an absolute name: no search domain is tried."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
