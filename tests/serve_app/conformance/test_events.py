"""Server-sent events out of bytes."""

import pytest

from serve_app.conformance.events import Event, events
from serve_app.conformance.part import Malformed

STREAM = b": hello\n\nevent: a\ndata: 1\n\nevent:b\r\ndata:2\r\ndata: 3\r\n\r\nid: 7\ndata: \xe2\x80\xa8\n\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events(size: int) -> None:
    """However the bytes are cut: names, several lines of data, comments; only CR LF and LF end a line."""
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert list(events(pieces)) == [Event(0, "a", "1"), Event(1, "b", "2\n3"), Event(2, None, "\u2028")]


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"data: 1\n\ndata: 2\n", "event 1: the stream ends within it"),
        (b"data: 1", "event 0: the stream ends"),
        (b"data: \xff\n\n", "stream: is no UTF-8"),
    ],
)
def test_faults(stream: bytes, said: str) -> None:
    """A stream that ends within an event, or is no text."""
    with pytest.raises(Malformed, match=said):
        list(events([stream]))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event(0, "a", '{"type": "b"}'), "event 0.type: is 'b', but the event is called 'a'"),
        (Event(1, None, '{"type": "b"}'), "event 1.type: is 'b', but the event is called None"),
        (Event(2, "a", "{}"), "event 2.type: is missing"),
        (Event(3, "error", '{"type": "error"}'), 'event 3: an error: {"type": "error"}'),
        (Event(4, "a", "[DONE]"), "event 4: is no JSON"),
    ],
)
def test_named(event: Event, said: str) -> None:
    """Name and type are the same, and no error."""
    with pytest.raises(Malformed, match=said):
        event.named()
