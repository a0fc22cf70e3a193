"""Which of the operator's rules for images can be checked before anything is fetched?"""

import re
from collections.abc import Sequence
from enum import StrEnum

import httpx

from serve_app.config import ImagePolicy
from serve_app.ingress import addresses

MAX_URL_CHARS = 8192
_UNUSUAL = re.compile(r"[\x00-\x20\x7f\\]")
_DATA = re.compile(r"data:image/[a-z0-9][a-z0-9.+-]{0,63};base64,", re.IGNORECASE)
SHOWN_CHARS = 120


class Rule(StrEnum):
    """What an image can be refused for; a metric label."""

    SHAPE = "shape"
    SCHEME = "scheme"
    URL = "url"
    HOST = "host"
    PORT = "port"
    ADDRESS = "address"
    UNREACHABLE = "unreachable"
    STATUS = "status"
    REDIRECTS = "redirects"
    ENCODING = "encoding"
    FORMAT = "format"
    BYTES = "bytes"
    TOTAL_BYTES = "total_bytes"
    PIXELS = "pixels"
    COUNT = "count"
    TIMEOUT = "timeout"


class Refused(Exception):
    """An image may not pass; the text is for the client, and tells nothing of our network."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def shown(value: object) -> str:
    """Return a value as a message has it: quoted, and not longer than it helps."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."


def scheme(url: str) -> str:
    """Return the scheme of a URL in lower case; empty if it has none."""
    before, colon, _ = url[:32].partition(":")
    return before.lower() if colon else ""


def check_scheme(url: str, allowed: Sequence[str]) -> None:
    """Raise Refused unless the URL's scheme is allowed."""
    if scheme(url) not in allowed:
        named = " and ".join(allowed) or "none"
        raise Refused(
            Rule.SCHEME, f"scheme {shown(scheme(url))} is not allowed; ingress.images allows {named}"
        )


def data_payload(url: str) -> str:
    """Return the base64 text of a data URL. Raises Refused if it is not an image's in base64."""
    if not (opening := _DATA.match(url)):
        raise Refused(
            Rule.URL,
            f"a data URL must begin with data:image/<type>;base64, but this one has {shown(url[:80])}",
        )
    return url[opening.end() :]


def data_bytes(payload: str) -> int:
    """Return how many bytes a base64 text decodes to."""
    return len(payload) // 4 * 3 - payload[-2:].count("=")


def check_bytes(num_bytes: int, policy: ImagePolicy) -> None:
    """Raise Refused if one image has more bytes than allowed."""
    if num_bytes > policy.max_bytes:
        raise Refused(
            Rule.BYTES,
            f"the image has at least {num_bytes} bytes; ingress.images.max_bytes allows {policy.max_bytes}",
        )


def remote(url: str, policy: ImagePolicy) -> httpx.URL:
    """Return a URL that may be fetched, as far as its text tells. Raises Refused.

    Applied to what the client names, and again to every redirect. The address is checked when it is
    connected to.
    """
    check_scheme(url, [name for name in policy.schemes if name == "https"])
    if len(url) > MAX_URL_CHARS:
        raise Refused(Rule.URL, f"the URL has {len(url)} characters; {MAX_URL_CHARS} are allowed")
    if _UNUSUAL.search(url):
        raise Refused(Rule.URL, f"URL {shown(url)} has spaces, control characters or backslashes")
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        raise Refused(Rule.URL, f"URL {shown(url)} is not valid") from None
    if parsed.userinfo or "@" in parsed.netloc.decode("ascii", "replace"):
        raise Refused(Rule.URL, "the URL has a user name or password; none is allowed")
    if not (addresses.is_name(host) or addresses.literal(host)):
        raise Refused(Rule.HOST, f"host {shown(host)} is neither a full domain name nor a plain IP address")
    if policy.hosts is not None and not any(_matches(host, pattern) for pattern in policy.hosts):
        allowed = ", ".join(policy.hosts)
        raise Refused(Rule.HOST, f"host {shown(host)} is not allowed; ingress.images.hosts allows {allowed}")
    port = 443 if parsed.port is None else parsed.port
    if port not in policy.ports:
        allowed = ", ".join(map(str, policy.ports))
        raise Refused(Rule.PORT, f"port {port} is not allowed; ingress.images.ports allows {allowed}")
    return parsed


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


class Budget:
    """The bytes that the images of one request may have together."""

    def __init__(self, policy: ImagePolicy) -> None:
        self._limit = policy.max_total_bytes
        self._num_bytes = 0

    def take(self, num_bytes: int) -> None:
        """Count bytes. Raises Refused once there are too many."""
        self._num_bytes += num_bytes
        if self._num_bytes > self._limit:
            raise Refused(
                Rule.TOTAL_BYTES,
                f"the request's images have at least {self._num_bytes} bytes together; "
                f"ingress.images.max_total_bytes allows {self._limit}",
            )
