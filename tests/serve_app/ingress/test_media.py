"""The images of whole requests: every dialect, the operator's limits, deadlines and metrics."""

import asyncio
import base64
import copy
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from serve_app.config import ImagePolicy
from serve_app.errors import InvalidRequest
from serve_app.ingress import parts
from serve_app.ingress.media import Images
from serve_app.metrics import Metrics
from tests.serve_app.ingress.test_formats import png
from tests.serve_app.ingress.web import (
    PUBLIC,
    Authority,
    Page,
    Web,
    ok,
    picture,
    redirect,
    serving,
)
from tests.serve_app.samples import cancel, until

PICTURES = {name: picture(kind) for name, kind in {"/png": "PNG", "/jpeg": "JPEG", "/webp": "WEBP"}.items()}
SITE = "https://example.com"


def data(content: bytes, kind: str = "png") -> str:
    """Return a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def chat(*urls: str) -> dict[str, Any]:
    """Return a chat body with an image part for each URL."""
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, *images]}]}


async def silent(_: asyncio.StreamWriter) -> None:
    """Accept, and never answer."""
    await asyncio.sleep(30)


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, always soon enough for a limit that looks at single reads."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        writer.write(b"\x89")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.fixture
async def web(certificates: Authority) -> AsyncIterator[Web]:
    """A site with pictures, and with pages that are none."""
    pages: dict[str, Page] = {path: ok(content) for path, content in PICTURES.items()}
    more: dict[str, Page] = {
        "/html": ok(b"<!doctype html>", "content-type: image/png"),
        "/bomb": ok(png(60000, 60000)),
        "/away": redirect("https://inside.example.com/"),
        "/silent": silent,
        "/trickle": trickle,
    }
    names = {"example.com": [[PUBLIC]], "inside.example.com": [["10.0.0.7"]]}
    async with serving(Web(pages | more, names), certificates.server) as served:
        yield served


async def settle(images: Images, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settle the images of a body."""
    return await images.settle(body, parts.find(body))


class Desk:
    """Images over a web, and what they counted."""

    def __init__(self, web: Web, certificates: Authority, **policy: Any) -> None:
        self.metrics = Metrics("ingress-1")
        self.images = Images(
            ImagePolicy(**policy), self.metrics, resolve=web.resolve, network=web, tls=certificates.client
        )

    async def refusal(self, body: dict[str, Any]) -> tuple[str | None, str]:
        """Return param and message of the refusal."""
        before = copy.deepcopy(body)
        with pytest.raises(InvalidRequest) as refused:
            await settle(self.images, body)
        assert body == before
        assert refused.value.status == 400
        return refused.value.param, refused.value.message

    def counted(self, source: str, outcome: str) -> float:
        """Return how many images had this outcome."""
        labels = {"source": source, "outcome": outcome}
        return self.metrics._registry.get_sample_value("venturi_images_total", labels) or 0.0


async def test_nothing_to_do(web: Web, certificates: Authority) -> None:
    """A body without images, or with images that came along, is the very same object afterwards."""
    desk = Desk(web, certificates)
    empty: dict[str, Any] = {"messages": []}
    for body in (empty, chat(), chat(data(PICTURES["/png"]), data(PICTURES["/jpeg"], "jpeg"))):
        assert await settle(desk.images, body) is body
    assert desk.counted("data", "accepted") == 2
    assert web.connected == []


async def test_chat(web: Web, certificates: Authority) -> None:
    """Remote images of a chat become data URLs of what they are; images that came along stay."""
    desk = Desk(web, certificates)
    body = chat(f"{SITE}/png", data(PICTURES["/png"]), f"{SITE}/webp")
    settled = await settle(desk.images, body)
    assert settled == chat(data(PICTURES["/png"]), data(PICTURES["/png"]), data(PICTURES["/webp"], "webp"))
    assert body == chat(f"{SITE}/png", data(PICTURES["/png"]), f"{SITE}/webp")
    assert (desk.counted("https", "accepted"), desk.counted("data", "accepted")) == (2, 1)


async def test_responses(web: Web, certificates: Authority) -> None:
    """Remote images of a responses request become data URLs."""
    body = {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": f"{SITE}/jpeg"}]}]}
    settled = await settle(Desk(web, certificates).images, body)
    assert settled["input"][0]["content"] == [
        {"type": "input_image", "image_url": data(PICTURES["/jpeg"], "jpeg")}
    ]


async def test_messages(web: Web, certificates: Authority) -> None:
    """Remote images of a messages request become base64 sources, in tool results too."""
    image = {"type": "image", "source": {"type": "url", "url": f"{SITE}/png"}}
    content = [image, {"type": "tool_result", "tool_use_id": "t", "content": [image]}]
    settled = await settle(
        Desk(web, certificates).images, {"messages": [{"role": "user", "content": content}]}
    )
    source = {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(PICTURES["/png"]).decode(),
    }
    inlined = {"type": "image", "source": source}
    assert settled["messages"][0]["content"] == [
        inlined,
        {"type": "tool_result", "tool_use_id": "t", "content": [inlined]},
    ]


@pytest.mark.parametrize(
    ("url", "outcome", "words"),
    [
        (f"{SITE}/html", "format", "must be PNG, JPEG, GIF or WebP, but begins with b'<!doctyp'"),
        (
            f"{SITE}/bomb",
            "pixels",
            "60000x60000 = 3600000000 pixels; ingress.images.max_pixels allows 33554432",
        ),
        (f"{SITE}/none", "status", "answered with status 404, not 200"),
        (f"{SITE}/away", "address", "host 'inside.example.com' has no address, or not only public ones"),
        ("https://10.0.0.8/", "address", "not only public ones"),
        (data(png(60000, 60000)), "pixels", "60000x60000 = 3600000000 pixels"),
        (data(b"GIF"), "format", "must be PNG, JPEG, GIF or WebP"),
        ("data:image/png;base64,AA=A", "format", "is not base64"),
        ("data:text/html;base64,AAAA", "url", "a data URL must begin with data:image/<type>;base64,"),
        (
            "http://example.com/png",
            "scheme",
            "scheme 'http' is not allowed; ingress.images allows data and https",
        ),
        (data(bytes(2000)), "bytes", "at least 2000 bytes; ingress.images.max_bytes allows 1000"),
    ],
)
async def test_refused(web: Web, certificates: Authority, url: str, outcome: str, words: str) -> None:
    """A refusal names the part, the rule and both values, and is counted under its rule."""
    desk = Desk(web, certificates, max_bytes=1000)
    param, message = await desk.refusal(chat(url))
    assert param == "messages.0.content.1.image_url.url"
    assert message.startswith(f"{param}: ")
    assert words in message
    assert "10.0.0.7" not in message
    source = url.split(":")[0]
    assert desk.counted(source if source in ("data", "https") else "other", outcome) == 1


async def test_one_bad_image_stops_the_others(web: Web, certificates: Authority) -> None:
    """The first refusal ends the request: fetches that are under way are given up."""
    desk = Desk(web, certificates)
    async with asyncio.timeout(5):
        param, _ = await desk.refusal(chat(f"{SITE}/silent", f"{SITE}/html"))
    assert param == "messages.0.content.2.image_url.url"
    assert desk.counted("https", "timeout") == 0


async def test_rules_before_fetching(web: Web, certificates: Authority) -> None:
    """An image that is refused by its text alone keeps all others from being fetched."""
    param, _ = await Desk(web, certificates).refusal(chat(f"{SITE}/png", "ftp://example.com/x"))
    assert param == "messages.0.content.2.image_url.url"
    assert web.looked_up == []


async def test_too_many(web: Web, certificates: Authority) -> None:
    """The first image over the count is named, wherever it came from; nothing is fetched."""
    desk = Desk(web, certificates, max_count=2)
    param, message = await desk.refusal(chat(f"{SITE}/png", data(PICTURES["/png"]), f"{SITE}/jpeg"))
    assert param == "messages.0.content.3.image_url.url"
    assert message == f"{param}: the request has 3 images; ingress.images.max_count allows 2"
    assert web.looked_up == []
    assert desk.counted("https", "count") == 1


async def test_too_much_together(web: Web, certificates: Authority) -> None:
    """Images that came along and images that are fetched have one sum of bytes."""
    size = len(PICTURES["/png"])
    desk = Desk(web, certificates, max_bytes=size, max_total_bytes=2 * size)
    along = data(PICTURES["/png"])
    await settle(desk.images, chat(along, f"{SITE}/png"))
    _, message = await desk.refusal(chat(along, along, f"{SITE}/png"))
    assert f"ingress.images.max_total_bytes allows {2 * size}" in message
    _, message = await desk.refusal(chat(along, along, along))
    assert f"at least {3 * size} bytes together" in message


async def test_data_can_be_off(web: Web, certificates: Authority) -> None:
    """Without `data` neither data URLs nor base64 sources pass."""
    desk = Desk(web, certificates, data=False)
    _, message = await desk.refusal(chat(data(PICTURES["/png"])))
    assert "scheme 'data' is not allowed; ingress.images allows https" in message
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    param, _ = await desk.refusal({"messages": [{"content": [{"type": "image", "source": source}]}]})
    assert param == "messages.0.content.0.source.data"


@pytest.mark.parametrize("page", ["/silent", "/trickle"])
async def test_slow_servers(web: Web, certificates: Authority, page: str) -> None:
    """One deadline holds for all images, for silent servers and for those that trickle."""
    desk = Desk(web, certificates, timeout_s=0.5)
    began = asyncio.get_running_loop().time()
    param, message = await desk.refusal(chat(f"{SITE}{page}", f"{SITE}/png"))
    assert asyncio.get_running_loop().time() - began < 3
    assert message == f"{param}: the image was not there after 0.5 s; ingress.images.timeout_s allows 0.5 s"
    assert desk.counted("https", "timeout") == 1


async def test_a_resolver_that_hangs(web: Web, certificates: Authority) -> None:
    """Looking a name up counts as well."""

    async def never(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    policy = ImagePolicy(timeout_s=0.2)
    images = Images(policy, Metrics("i"), resolve=never, network=web, tls=certificates.client)
    with pytest.raises(InvalidRequest, match="timeout_s allows"):
        await settle(images, chat(f"{SITE}/png"))


async def test_together(web: Web, certificates: Authority) -> None:
    """The images of a request are fetched at the same time."""
    desk = Desk(web, certificates)
    task = asyncio.create_task(settle(desk.images, chat(*[f"{SITE}/silent"] * 5)))
    await until(lambda: web.num_open == 5)
    await cancel(task)
    assert task.cancelled()


async def test_cancelled(web: Web, certificates: Authority) -> None:
    """A request that is given up leaves no connection and no task behind."""
    desk, before = Desk(web, certificates), asyncio.all_tasks()
    task = asyncio.create_task(settle(desk.images, chat(f"{SITE}/trickle", f"{SITE}/trickle")))
    await until(lambda: len(web.requests) == 2)
    await cancel(task)
    await until(lambda: web.num_open == 0)
    assert task.cancelled()
    await until(lambda: asyncio.all_tasks() <= before)


async def test_the_real_thing_can_be_made() -> None:
    """Without stand-ins there are the system's resolver, real sockets and the usual authorities."""
    images = Images(ImagePolicy(), Metrics("ingress-1"))
    with pytest.raises(InvalidRequest, match="not only public ones"):
        await settle(images, chat("https://127.0.0.1/"))
