"""How do tests fetch one image from a small web, and read why it was refused?"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from serve_app.config import ImagePolicy
from serve_app.ingress.fetch import Fetcher
from serve_app.ingress.image_rules import Budget, Refused, Rule
from tests.serve_app.ingress.web import OTHER_PUBLIC, PUBLIC, Authority, Page, Web, picture, serving

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
