"""Is this an image that the model may get, and how large does it unpack?

Only headers are read. Four formats are let through, told by their first bytes: whatever else the engine's
image library could open is neither needed nor looked after.
"""

import binascii
from io import BytesIO

from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from serve_app.ingress.image_rules import Refused, Rule, data_bytes, shown

MAGIC: tuple[tuple[bytes, str, type[ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png", PngImageFile),
    (b"\xff\xd8\xff", "image/jpeg", JpegImageFile),
    (b"GIF87a", "image/gif", GifImageFile),
    (b"GIF89a", "image/gif", GifImageFile),
)
WEBP = "image/webp"
WEBP_HEADER_BYTES = 30


def decode(payload: str) -> bytes:
    """Return the bytes of a base64 text; no whitespace, no other alphabet, no missing padding."""
    try:
        content = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as error:
        raise Refused(Rule.FORMAT, f"the data is not base64: {error}") from None
    if len(content) != data_bytes(payload):
        raise Refused(Rule.FORMAT, "the data is not base64: too much padding")
    return content


def media_type(content: bytes, max_pixels: int) -> str:
    """Return the media type of an image. Raises Refused if it is none, or has more than `max_pixels`."""
    name, reader = _format(content)
    if name == WEBP:
        # Its reader reserves memory for the whole picture when it opens one, so it comes second.
        _check(_webp_size(content), max_pixels)
    try:
        # The readers themselves, since `PIL.Image.open` has a limit and warnings of its own.
        with reader(BytesIO(content)) as image:
            size = image.size
    except DecompressionBombError:
        raise Refused(
            Rule.PIXELS, f"the image unpacks to too much; ingress.images.max_pixels allows {max_pixels}"
        ) from None
    except (OSError, SyntaxError, ValueError, OverflowError, LookupError, TypeError, MemoryError):
        raise Refused(Rule.FORMAT, f"the {name} data has a broken header") from None
    _check(size, max_pixels)
    return name


def _format(content: bytes) -> tuple[str, type[ImageFile]]:
    for magic, name, reader in MAGIC:
        if content.startswith(magic):
            return name, reader
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return WEBP, WebPImageFile
    raise Refused(
        Rule.FORMAT, f"the data must be PNG, JPEG, GIF or WebP, but begins with {shown(content[:8])}"
    )


def _check(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise Refused(
            Rule.PIXELS,
            f"the image has {width}x{height} = {width * height} pixels; "
            f"ingress.images.max_pixels allows {max_pixels}",
        )


def _webp_size(content: bytes) -> tuple[int, int]:
    kind, header = content[12:16], content[20:WEBP_HEADER_BYTES]

    def number(start: int, num_bytes: int) -> int:
        return int.from_bytes(header[start : start + num_bytes], "little")

    if len(header) == WEBP_HEADER_BYTES - 20:
        if kind == b"VP8X":  # flags, 3 reserved bytes, canvas
            return number(4, 3) + 1, number(7, 3) + 1
        if kind == b"VP8L":  # a signature byte, then two fields of 14 bits
            return (number(1, 4) & 0x3FFF) + 1, (number(1, 4) >> 14 & 0x3FFF) + 1
        if kind == b"VP8 ":  # frame tag, start code, two fields of 14 bits and 2 of scale
            return number(6, 2) & 0x3FFF, number(8, 2) & 0x3FFF
    raise Refused(Rule.FORMAT, f"the {WEBP} data has a broken header")
