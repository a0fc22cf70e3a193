"""Where images are found in a body, and how they are put back."""

import copy
from typing import Any

import pytest

from serve_app.errors import InvalidRequest
from serve_app.ingress import parts

URL = "https://example.com/a.png"
TEXT = {"type": "text", "text": "What?"}


def chat(*content: Any) -> dict[str, Any]:
    """Return a chat or messages body."""
    return {"model": "m", "messages": [{"role": "user", "content": [TEXT, *content]}]}


def responses(*content: Any) -> dict[str, Any]:
    """Return a responses body."""
    return {"model": "m", "input": [{"role": "user", "content": [*content]}]}


BY_URL = {"type": "image", "source": {"type": "url", "url": URL}}
BASE64 = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
DATA = "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (chat({"type": "image_url", "image_url": {"url": URL}}), ("messages.0.content.1.image_url.url", URL)),
        (chat({"type": "image_url", "image_url": URL}), ("messages.0.content.1.image_url", URL)),
        (chat({"image_url": URL}), ("messages.0.content.1.image_url", URL)),
        (chat({"type": "text", "image_url": URL}), ("messages.0.content.1.image_url", URL)),
        (responses({"type": "input_image", "image_url": URL}), ("input.0.content.0.image_url", URL)),
        ({"input": [{"type": "input_image", "image_url": URL}]}, ("input.0.image_url", URL)),
        (
            {
                "input": [
                    {"type": "function_call_output", "output": [{"type": "input_image", "image_url": URL}]}
                ]
            },
            ("input.0.output.0.image_url", URL),
        ),
        (
            {"input": [{"output": {"type": "computer_screenshot", "image_url": URL}}]},
            ("input.0.output.image_url", URL),
        ),
        (chat(BY_URL), ("messages.0.content.1.source.url", URL)),
        (chat(BASE64), ("messages.0.content.1.source.data", DATA)),
        (
            chat({"type": "tool_result", "content": [TEXT, BY_URL]}),
            ("messages.0.content.1.content.1.source.url", URL),
        ),
    ],
)
def test_every_shape_is_found(body: dict[str, Any], found: tuple[str, str]) -> None:
    """Each dialect's images are found, under the path that an error names."""
    assert [(image.param, image.url) for image in parts.find(body)] == [found]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": None, "input": "https://example.com/a.png"},
        {"messages": [{"role": "user", "content": URL}, None, 3]},
        {"input": ["a", {"content": None}]},
        chat({"type": "text", "text": URL, "image_url": None}),
        chat({"type": "tool_use", "input": {"type": "image_url", "image_url": URL}}),
        chat({"type": "document", "source": {"type": "url", "url": URL}}),
        {"tools": [{"function": {"parameters": {"properties": {"image_url": {"type": "string"}}}}}]},
        {"messages": [{"tool_calls": [{"function": {"arguments": {"image_url": URL}}}]}]},
        {"metadata": {"messages": {"image_url": URL}}},
    ],
)
def test_words_that_look_like_images(body: dict[str, Any]) -> None:
    """Texts, schemas and arguments of tools are nobody's images."""
    assert parts.find(body) == []


@pytest.mark.parametrize(
    ("part", "where", "words"),
    [
        ({"type": "image_url"}, "image_url", "must be a URL, not None"),
        ({"type": "image_url", "image_url": 5}, "image_url", "must be a URL, not 5"),
        ({"type": "image_url", "image_url": {}}, "image_url.url", "must be a URL, not None"),
        ({"type": "image_url", "image_url": {"url": ["x"]}}, "image_url.url", "not ['x']"),
        ({"type": "input_image", "file_id": "f-1"}, "file_id", "is not served; give image_url, not 'f-1'"),
        ({"image_url": URL, "uuid": "u-1"}, "uuid", "must be left out, not 'u-1'"),
        ({"type": "image"}, "source", "must be an object"),
        (
            {"type": "image", "source": {"type": "file"}},
            "source.type",
            "must be 'url' or 'base64', not 'file'",
        ),
        ({"type": "image", "source": {"data": "AAAA"}}, "source.type", "not None"),
        ({"type": "image", "source": {"type": "url"}}, "source.url", "must be a URL, not None"),
        (
            {"type": "image", "source": {"type": "base64", "data": "A"}},
            "source.media_type",
            "must be a string",
        ),
    ],
)
def test_shapes_that_are_wrong(part: dict[str, Any], where: str, words: str) -> None:
    """An image of no known shape is refused; the error names its place and what stands there."""
    with pytest.raises(InvalidRequest) as refused:
        parts.find(chat(part))
    assert refused.value.param == f"messages.0.content.1.{where}"
    assert words in refused.value.message


def test_nested_without_end() -> None:
    """Content within content is followed as far as dialects go, and refused beyond."""
    part: dict[str, Any] = {"image_url": URL}
    for _ in range(500):
        part = {"content": [part]}
    with pytest.raises(InvalidRequest, match="nested more than 8 deep"):
        parts.find({"messages": [part]})


@pytest.mark.parametrize(
    ("part", "becomes"),
    [
        (
            {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/gif;base64,aGk=", "detail": "low"}},
        ),
        (
            {"type": "input_image", "image_url": URL},
            {"type": "input_image", "image_url": "data:image/gif;base64,aGk="},
        ),
        (
            BY_URL | {"cache_control": {"type": "ephemeral"}},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/gif", "data": "aGk="},
                "cache_control": {"type": "ephemeral"},
            },
        ),
    ],
)
def test_inlined(part: dict[str, Any], becomes: dict[str, Any]) -> None:
    """An image's content takes its place in the dialect's own form; all else stays, the original too."""
    body = chat(part)
    before = copy.deepcopy(body)
    (image,) = parts.find(body)
    assert parts.inlined(body, [(image, "image/gif", b"hi")]) == chat(becomes)
    assert body == before


def test_nothing_to_put_back() -> None:
    """Without fetched images the body is the very same object."""
    body = chat(TEXT)
    assert parts.inlined(body, []) is body
