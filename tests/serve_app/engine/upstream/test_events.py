"""Bytes of a stream as events."""

import pytest

from serve_app.engine.upstream.events import Event, Events, TooLong

TEXT = (
    b"\xef\xbb\xbf: c\n\nevent: a\r\ndata: 1\r\ndata:2\r\n\r\nid: 7\ndata:  x\n\n\n\ndata\n\ndata: unfinished"
)
WHOLE = [Event(b"a", b"1\n2"), Event(b"", b" x"), Event(b"", b"")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_however_it_is_cut(size: int) -> None:
    """Names, data of several lines, both line ends; comments and other fields are passed over."""
    events = Events()
    pieces = [TEXT[i : i + size] for i in range(0, len(TEXT), size)]
    assert [event for piece in pieces for event in events.feed(piece)] == WHOLE


@pytest.mark.parametrize("piece", [b"data: xx", b"data: xx\n", b": xxxxxx\n"])
def test_too_long(piece: bytes) -> None:
    """An event that is longer than allowed is refused, wherever its lines end."""
    events = Events(max_bytes=30)
    list(events.feed(piece * 3))
    with pytest.raises(TooLong, match="longer than 30 bytes"):
        list(events.feed(piece * 2))


def test_many_short_ones() -> None:
    """The limit is an event's, not the stream's."""
    events = Events(max_bytes=30)
    assert len(list(events.feed(b"data: 12345\n\nda"))) == 1
    assert all(len(list(events.feed(b"ta: 12345\n\nda"))) == 1 for _ in range(50))
