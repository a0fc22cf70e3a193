"""Which bytes are images, and how large do they unpack?"""

import base64
import struct
import zlib
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from serve_app.ingress import formats
from serve_app.ingress.image_rules import Refused, Rule
from tests.serve_app.ingress.web import picture

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


def png(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that claims this size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def gif(screen: int, frame: int) -> bytes:
    """Return a GIF whose first frame has another size than its screen."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", screen, screen, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, frame, frame, 0)
        + b"\x02\x02\x4c\x01\x00;"
    )


def webp(kind: bytes, width: int, height: int) -> bytes:
    """Return a WebP of a few bytes that claims this size."""
    if kind == b"VP8X":
        header = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif kind == b"VP8L":
        header = b"\x2f" + (width - 1 | (height - 1) << 14).to_bytes(4, "little") + bytes(5)
    else:
        header = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    return b"RIFF" + struct.pack("<I", 12 + len(header)) + b"WEBP" + kind + struct.pack("<I", 10) + header


def jpeg(width: int, height: int) -> bytes:
    """Return a JPEG that claims this size."""
    content = bytearray(picture("JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_the_four_formats(kind: str) -> None:
    """Each format is told by its content, up to exactly as many pixels as are allowed."""
    content = picture(kind, (20, 10))
    assert formats.media_type(content, 200) == KINDS[kind]
    with pytest.raises(Refused, match=r"20x10 = 200 pixels; ingress\.images\.max_pixels allows 199"):
        formats.media_type(content, 199)


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"save_all": True}])
def test_kinds_of_webp(options: dict[str, bool]) -> None:
    """Lossy, lossless and animated files are measured alike."""
    file = BytesIO()
    frames = [Image.new("RGB", (33, 17), color) for color in ("red", "blue")]
    more = {"append_images": frames[1:]} if "save_all" in options else {}
    frames[0].save(file, "WEBP", **options, **more)
    assert formats.media_type(file.getvalue(), 33 * 17) == "image/webp"
    with pytest.raises(Refused, match="33x17 = 561 pixels"):
        formats.media_type(file.getvalue(), 560)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (png(60000, 60000), "60000x60000"),
        (png(2**31 - 1, 2**31 - 1), "2147483647x2147483647"),
        (jpeg(60000, 60000), "60000x60000"),
        (webp(b"VP8X", 2**24, 2**24), "16777216x16777216"),
        (webp(b"VP8L", 16384, 16384), "16384x16384"),
        (webp(b"VP8 ", 16383, 16383), "16383x16383"),
    ],
)
def test_bombs(content: bytes, size: str) -> None:
    """A few bytes that would unpack to gigabytes are refused by their header."""
    assert len(content) < 1000
    with pytest.raises(Refused, match=f"the image has {size} = ") as refused:
        formats.media_type(content, 2**25)
    assert refused.value.rule is Rule.PIXELS


@pytest.mark.parametrize("frame", [6000, 65535])
def test_a_frame_larger_than_its_screen(frame: int) -> None:
    """A GIF's frame counts, not only the screen that it says it is drawn on."""
    with pytest.raises(Refused, match="max_pixels allows") as refused:
        formats.media_type(gif(1, frame), 2**25)
    assert refused.value.rule is Rule.PIXELS


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!doctype html>",
        b"BM" + bytes(60),
        b"II*\x00" + bytes(60),
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"\x89PNG",
    ],
)
def test_other_data(content: bytes) -> None:
    """Other formats are refused, also those that an image library would open."""
    with pytest.raises(Refused, match="must be PNG, JPEG, GIF or WebP, but begins with") as refused:
        formats.media_type(content, 100)
    assert refused.value.rule is Rule.FORMAT


@settings(max_examples=200)
@given(st.sampled_from([picture(kind) for kind in KINDS]), st.data())
def test_broken_headers(content: bytes, data: st.DataObject) -> None:
    """However an image is cut or altered, it is measured or refused; nothing else is raised."""
    length = data.draw(st.integers(12, len(content)))
    changed = bytearray(content[:length])
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, min(length, 64) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Refused):
        assert formats.media_type(bytes(changed), 10_000) in KINDS.values()


def test_base64() -> None:
    """The standard alphabet with its padding is decoded."""
    assert formats.decode(base64.b64encode(bytes(range(256))).decode()) == bytes(range(256))


@pytest.mark.parametrize(
    "payload", ["AAA", "AA=A", "AAAA====", "AA\nAA", "AA AA", "-_-_", "AAAA%3D", "é", "AAAA,"]
)
def test_almost_base64(payload: str) -> None:
    """Whitespace, other alphabets, and wrong padding are refused."""
    with pytest.raises(Refused, match="is not base64"):
        formats.decode(payload)
