"""Where are the images of a request, and how is one replaced?

The dialects are told apart by their shapes:

    chat        {"type": "image_url", "image_url": {"url": ...}}, or "image_url": "..."
    responses   {"type": "input_image", "image_url": "..."}
    messages    {"type": "image", "source": {"type": "url", "url": ...}}, or
                {"type": "image", "source": {"type": "base64", "media_type": ..., "data": ...}}

Only `messages` and `input` are searched, and in them only items and what stands under `content` or `output`:
elsewhere, as in a tool's schema or arguments, `image_url` is a word like any other.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.errors import InvalidRequest

Path = tuple[str | int, ...]

NESTED = ("content", "output")
"""Under these keys an item has further items."""
MAX_DEPTH = 8
"""Items within items; no dialect needs more than three."""


@dataclass(frozen=True)
class Image:
    """An image that a request names or brings along."""

    path: Path
    """Where its URL or its data stands in the body."""
    url: str
    """A data URL also where the dialect has media type and data apart."""
    source: Mapping[str, Any] | None = None
    """The source it comes from, in the messages dialect."""

    @property
    def param(self) -> str:
        """The path as an error names it."""
        return param(self.path)


def param(path: Path) -> str:
    """Return a path as an error names it: `messages.0.content.1.image_url.url`."""
    return ".".join(map(str, path))


def find(body: Mapping[str, Any]) -> list[Image]:
    """Return the images of a request in their order. Raises InvalidRequest for one of no known shape."""
    return [image for key in ("messages", "input") for image in _within(body.get(key), (key,), 0)]


def _within(value: object, path: Path, depth: int) -> Iterator[Image]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield from _item(item, (*path, index), depth)
    elif isinstance(value, dict):
        yield from _item(value, path, depth)


def _item(item: Mapping[str, Any], path: Path, depth: int) -> Iterator[Image]:
    if depth > MAX_DEPTH:
        raise InvalidRequest(
            f"{param(path)}: content is nested more than {MAX_DEPTH} deep; {MAX_DEPTH} are allowed",
            param=param(path),
        )
    kind = item.get("type")
    # The engine takes `image_url` for an image whatever the type says, so this does too.
    if item.get("image_url") is not None or kind in ("image_url", "input_image"):
        _refuse_uuid(item, path)
        yield _by_url(item, path)
    if kind == "image":
        yield _by_source(item, path)
    for key in NESTED:
        yield from _within(item.get(key), (*path, key), depth + 1)


def _refuse_uuid(item: Mapping[str, Any], path: Path) -> None:
    if item.get("uuid") is not None:
        # The engine would take another client's image of the same uuid for this one.
        raise _wrong((*path, "uuid"), "is not served for images; it must be left out", item["uuid"])


def _by_url(item: Mapping[str, Any], path: Path) -> Image:
    given = item.get("image_url")
    path = (*path, "image_url")
    if given is None and item.get("file_id") is not None:
        raise _wrong((*path[:-1], "file_id"), "is not served; give image_url", item["file_id"])
    if isinstance(given, dict):
        path, given = (*path, "url"), given.get("url")
    if not isinstance(given, str):
        raise _wrong(path, "must be a URL", given)
    return Image(path, given)


def _by_source(item: Mapping[str, Any], path: Path) -> Image:
    source = item.get("source")
    path = (*path, "source")
    if not isinstance(source, dict):
        raise _wrong(path, "must be an object with type 'url' or 'base64'", source)
    kind = source.get("type")
    if kind == "url":
        if not isinstance(source.get("url"), str):
            raise _wrong((*path, "url"), "must be a URL", source.get("url"))
        return Image((*path, "url"), source["url"], source)
    if kind != "base64":
        raise _wrong((*path, "type"), "must be 'url' or 'base64'", kind)
    for key in ("media_type", "data"):
        if not isinstance(source.get(key), str):
            raise _wrong((*path, key), "must be a string", source.get(key))
    return Image((*path, "data"), f"data:{source['media_type']};base64,{source['data']}", source)


def _wrong(path: Path, rule: str, value: object) -> InvalidRequest:
    return InvalidRequest(f"{param(path)}: {rule}, not {value!r:.80}", param=param(path))


def inlined(body: Mapping[str, Any], images: Sequence[tuple[Image, str, bytes]]) -> Mapping[str, Any]:
    """Return the body with each image's content in it, in its dialect's own form; `body` stays as it is.

    `images`: each image with its media type and content.
    """
    for image, media_type, content in images:
        data = base64.b64encode(content).decode("ascii")
        if image.source is None:
            body = _replaced(body, image.path, f"data:{media_type};base64,{data}")
        else:
            kept = {key: value for key, value in image.source.items() if key != "url"}
            source = {**kept, "type": "base64", "media_type": media_type, "data": data}
            body = _replaced(body, image.path[:-1], source)
    return body


def _replaced(tree: Any, path: Path, value: object) -> Any:
    """Return `tree` with `value` at `path`; what is not on the path is shared."""
    if not path:
        return value
    copy = tree.copy()
    copy[path[0]] = _replaced(tree[path[0]], path[1:], value)
    return copy
