"""How is one thing in an answer made wrong, and what does the matrix say to that?"""

from collections.abc import Callable
from typing import Any

import httpx

from serve_app.conformance.matrix import Matrix, Row, cells
from serve_app.conformance.server import Server
from tests.serve_app.conformance.scripted import Scripted
from tests.serve_app.conformance.speech import MODEL, Payload

Spoil = Callable[[Payload], Payload]
SpoilEvents = Callable[[list[Payload]], list[Payload]]

GONE = object()
"""As a value: the key itself goes."""


def row(scripted: Scripted, name: str, structure_only: bool = False) -> Row:
    """What comes of the one cell of that name."""
    return rows(scripted, name, structure_only=structure_only)[0]


def rows(scripted: Scripted, *names: str, structure_only: bool = False) -> list[Row]:
    """What comes of cells that are asked one after the other."""
    with httpx.Client(base_url="http://scripted", transport=scripted) as http:
        matrix = Matrix(Server(http, None, 5.0), MODEL, 30_000, 64, structure_only)
        found = []
        for name in names:
            (cell,) = cells(name)
            found.append(matrix.row(cell))
        return found


def put(path: str, value: Any) -> Spoil:
    """Put a value at a path of keys and places."""

    def spoil(body: Payload) -> Payload:
        *most, last = path.split(".")
        inner: Any = body
        for key in most:
            inner = inner[_step(key)]
        if value is GONE:
            del inner[_step(last)]
        else:
            inner[_step(last)] = value
        return body

    return spoil


def _step(key: str) -> str | int:
    return int(key) if key.lstrip("-").isdecimal() else key


def event(place: int | str, spoil: Spoil) -> SpoilEvents:
    """Spoil one event: by its place, or the first of that type."""

    def spoil_one(events: list[Payload]) -> list[Payload]:
        wanted = _place(events, place)
        return [spoil(one) if number == wanted else one for number, one in enumerate(events)]

    return spoil_one


def without(place: int | str) -> SpoilEvents:
    """Leave out one event, by its place, or the first of that type; the others are numbered anew."""

    def spoil(events: list[Payload]) -> list[Payload]:
        wanted = _place(events, place)
        return _numbered([one for number, one in enumerate(events) if number != wanted])

    return spoil


def twice(place: int | str) -> SpoilEvents:
    """Send one event twice."""

    def spoil(events: list[Payload]) -> list[Payload]:
        number = _place(events, place)
        return _numbered([*events[: number + 1], *events[number:]])

    return spoil


def _place(events: list[Payload], place: int | str) -> int:
    if isinstance(place, int):
        return place % len(events)
    return [one["type"] for one in events].index(place)


def _numbered(events: list[Payload]) -> list[Payload]:
    return [
        one | {"sequence_number": number} if "sequence_number" in one else one
        for number, one in enumerate(events)
    ]
