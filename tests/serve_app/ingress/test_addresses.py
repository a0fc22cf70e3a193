"""Which addresses count as public, and which hosts as names."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.ingress import addresses

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "64:ff9b::808:808",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "",
    "example.com",
    "127.1",
    "2130706433",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    """Global unicast addresses are public, up to the edges of the blocks beside them."""
    assert addresses.is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    """Whatever leads inside, to many, or nowhere is not public, also inside an IPv6 address."""
    assert not addresses.is_public(address)


@settings(max_examples=80)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_never_wider_than_the_standard_library(ip: IPv4Address | IPv6Address) -> None:
    """What Python knows to be private, reserved or multicast is not public here either."""
    if addresses.is_public(str(ip)) and ip not in addresses.NAT64:
        assert ip.is_global
        assert not any((ip.is_multicast, ip.is_reserved, ip.is_private))


@settings(max_examples=80)
@given(st.ip_addresses(v=4))
def test_embedded_addresses(ip: IPv4Address) -> None:
    """A NAT64 address is as public as the one inside; mapped and 6to4 addresses never are."""
    embedded = int(ip)
    assert addresses.is_public(str(IPv6Address((0x64FF9B << 96) | embedded))) == addresses.is_public(str(ip))
    assert not addresses.is_public(f"::ffff:{ip}")
    assert not addresses.is_public(str(IPv6Address((0x2002 << 112) | embedded << 80)))


@pytest.mark.parametrize("host", ["example.com", "a.b.example.co", "xn--bcher-kva.de", "my_cdn.example.com"])
def test_names(host: str) -> None:
    """Full domain names are names."""
    assert addresses.is_name(host)
    assert addresses.literal(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "metadata",
        "example.com.",
        "a..com",
        ".com",
        "-a.com",
        "Example.com",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "1.2.3.0x4",
        "2130706433",
        "127.0.0.1.",
        "%31.example.com",
        "exa mple.com",
        "a.com\n",
        "::1%eth0",
        "fe80::1%25eth0",
        "0:0:0:0:0:0:0:1",
        "a" * 64 + ".com",
        "a." * 127 + "com",
    ],
)
def test_neither_name_nor_address(host: str) -> None:
    """Single labels and every odd spelling of an address are neither names nor addresses."""
    assert not addresses.is_name(host)
    assert addresses.literal(host) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"])
def test_literals(host: str) -> None:
    """An address in its canonical spelling is a literal, and no name."""
    assert addresses.literal(host) == host
    assert not addresses.is_name(host)


async def test_the_system_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for the absolute name, and gives each address once."""
    asked = []

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append((host, port))
        one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))
        return [one, one, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", port, 0, 2))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert await addresses.SystemResolver()("example.com", 443) == ["8.8.8.8", "fe80::1%eth0"]
    assert asked == [("example.com.", 443)]
    assert ip_address("fe80::1%eth0").is_link_local
