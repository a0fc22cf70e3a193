"""Which server-sent events are in a stream of bytes?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from serve_app.conformance.part import Malformed, Part


@dataclass(frozen=True)
class Event:
    """One event; `place` counts from 0."""

    place: int
    name: str | None
    data: str

    @property
    def path(self) -> str:
        """How a message names it."""
        return f"event {self.place}"

    def named(self) -> Part:
        """The data, an object whose type is the event's name. Raises Malformed if it is not, or an error."""
        data = Part.parsed(self.data, self.path)
        if data["type"].name() != self.name:
            raise data["type"].fault(f"is {data['type'].value!r}, but the event is called {self.name!r}")
        if self.name in ("error", "response.failed"):
            raise Malformed(self.path, f"an error: {self.data}")
        return data


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events as they become complete. Raises Malformed if the bytes end within one.

    Lines end in CR LF or LF only: what else Unicode knows as line ends may stand in the data.
    """
    name: str | None = None
    data: list[str] = []
    place = 0
    for line in _lines(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(place, name, "\n".join(data))
                place += 1
            name, data = None, []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
    if data:
        raise Malformed(f"event {place}", f"the stream ends within it: {data}")


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield _decoded(line.removesuffix(b"\r"))
    if rest:
        yield _decoded(rest)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Malformed("stream", f"is no UTF-8: {error}") from None
