"""How do the bytes of a stream become server-sent events, whatever they are cut into?"""

from collections.abc import Iterator
from typing import NamedTuple

MAX_EVENT_BYTES = 16 * 2**20
"""The last event of a response has the whole answer in it once more."""


class Event(NamedTuple):
    """One event: its name, empty where it has none, and its data."""

    name: bytes
    data: bytes


class TooLong(ValueError):
    """An event, or a line that ends nowhere, is longer than MAX_EVENT_BYTES."""


class Events:
    """Takes in pieces and gives out the events that are whole. Comments and other fields are passed over."""

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._name = b""
        self._data: list[bytes] = []
        self._num_bytes = 0
        """Of the event's whole lines."""
        self._rest: list[bytes] = []
        """Pieces of a line that has not ended."""
        self._num_rest_bytes = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that end in `piece`. Raises TooLong."""
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._num_rest_bytes = [], 0
        for line in lines:
            if event := self._line(line.removesuffix(b"\r")):
                yield event
        self._rest.append(rest)
        self._num_rest_bytes += len(rest)
        self._check()

    def _line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data, self._num_bytes = b"", [], 0
            return event
        self._num_bytes += len(line)
        self._check()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        return None

    def _check(self) -> None:
        if self._num_bytes + self._num_rest_bytes > self._max_bytes:
            raise TooLong(f"an event is longer than {self._max_bytes} bytes")
