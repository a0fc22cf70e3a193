"""How is a server asked, and what can go wrong before there is an answer?"""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx

from serve_app.conformance.dialects import Ask, Dialect
from serve_app.conformance.events import Event, events
from serve_app.conformance.part import Malformed, Part, short

NOT_OFFERED = (404, 405, 501)
"""What a route that is not there answers, whatever it is sent."""


class Unreachable(Exception):
    """Nothing can be asked there."""


class Broken(Exception):
    """The connection failed, or the answer took too long."""


class Refused(Exception):
    """The server answered with another status than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {short(body.decode(errors='replace'))}")
        self.status = status
        self.body = body


class Server:
    """One server, asked over `http` (whose base URL is its root) with `key`."""

    def __init__(self, http: httpx.Client, key: str | None, timeout_s: float) -> None:
        self._http = http
        self._key = key
        self._timeout_s = timeout_s

    def card(self, model: str | None) -> dict[str, Any]:
        """The card of a model, by default the first: `id`, and whatever else the server says of it.

        Raises Unreachable if there is no server, or no card and no name.
        """
        headers = {} if self._key is None else {"authorization": f"Bearer {self._key}"}
        try:
            answer = self._http.get("/v1/models", headers=headers, timeout=self._timeout_s)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._http.base_url}: {_said(error)}") from None
        try:
            cards = Part.parsed(answer.content)["data"].items()
            found = [card.members() for card in cards if model in (None, card["id"].name())]
        except Malformed:
            found = []
        if found:
            return found[0]
        if model is None:
            raise Unreachable(
                f"{self._http.base_url}/v1/models names no model ({answer.status_code}); say which by --model"
            )
        return {"id": model}

    def offers(self, dialect: Dialect, model: str) -> bool:
        """Whether the route is there. It is sent a model and nothing else, which no dialect takes."""
        return self._post(dialect, {"model": model})[0] not in NOT_OFFERED

    def whole(self, dialect: Dialect, ask: Ask) -> Part:
        """The body of an answer in one piece. Raises Refused, Broken, or Malformed if it is no JSON."""
        status, content = self._post(dialect, dialect.body(ask, stream=False))
        if status != httpx.codes.OK:
            raise Refused(status, content)
        return Part.parsed(content)

    def streamed(self, dialect: Dialect, ask: Ask) -> list[Event]:
        """The events of an answer. Raises Refused, Broken, or Malformed if it is no stream of events."""
        deadline_s = time.monotonic() + self._timeout_s
        request = self._http.build_request(
            "POST",
            dialect.path,
            json=dialect.body(ask, stream=True),
            headers=dialect.headers(self._key),
            timeout=self._timeout_s,
        )
        try:
            with closing(self._http.send(request, stream=True)) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise Refused(answer.status_code, answer.read())
                kind = answer.headers.get("content-type", "")
                if not kind.startswith("text/event-stream"):
                    raise Malformed("content-type", f"of a stream must be text/event-stream, not {kind!r}")
                return list(events(self._before(deadline_s, answer.iter_bytes())))
        except httpx.HTTPError as error:
            raise Broken(_said(error)) from None

    def _post(self, dialect: Dialect, body: dict[str, Any]) -> tuple[int, bytes]:
        headers = dialect.headers(self._key)
        try:
            answer = self._http.post(dialect.path, json=body, headers=headers, timeout=self._timeout_s)
        except httpx.HTTPError as error:
            raise Broken(_said(error)) from None
        return answer.status_code, answer.content

    def _before(self, deadline_s: float, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if time.monotonic() > deadline_s:
                raise Broken(f"the stream has not ended within {self._timeout_s:g} s")
            yield chunk


def _said(error: httpx.HTTPError) -> str:
    return f"{type(error).__name__}: {error}"
