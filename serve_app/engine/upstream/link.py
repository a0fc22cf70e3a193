"""How is a server that is not ours reached: with which key, which certificates, and is it there?"""

import json
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from serve_app.config import Upstream, environment_variable, resolve
from serve_app.types import Call, Headers

PREFIX = "/v1"
"""Of every route; an upstream's URL has it in it already."""
MODELS_PATH = "/models"
MAX_MODELS_BYTES = 4 * 2**20
NO_SUCH_ROUTE = (404, 405)
"""A server that has no list of models is there all the same."""
LENGTH_FIELDS = ("max_model_len", "max_context_length")
"""Where vLLM and SGLang, and Mistral's API, say in a model's card how much it reads."""


class Unreachable(Exception):
    """The server cannot be asked; the message says why, without its key."""


class Link:
    """One server over HTTP. Nothing is opened, and no key read, before the first request or probe.

    Redirects are not followed, and neither proxies nor credentials of the environment are used.
    """

    def __init__(self, upstream: Upstream, max_connections: int, answer_timeout_s: float) -> None:
        self._upstream = upstream
        self._max_connections = max_connections
        self._answer_timeout_s = answer_timeout_s
        self._client: httpx.AsyncClient | None = None
        self._key: str | None = None

    async def post(self, call: Call, content: bytes, is_stream: bool) -> httpx.Response:
        """Send `call` with another body, and return the answer when its head is here. Raises Unreachable.

        The caller must close the answer.
        """
        upstream = self._upstream
        # A whole answer comes when it is complete, and gives no sign of life before.
        silence_s = upstream.silence_timeout_s if is_stream else self._answer_timeout_s
        timeout = httpx.Timeout(silence_s, connect=upstream.connect_timeout_s)
        accept = b"text/event-stream" if is_stream else b"application/json"
        client = self._opened()
        request = client.build_request(
            "POST",
            upstream.url + call.path.removeprefix(PREFIX),
            content=content,
            headers=[*_sendable(call.headers), (b"accept", accept), *self._authorization()],
            timeout=timeout,
        )
        try:
            return await client.send(request, stream=True)
        except httpx.TransportError as error:
            raise Unreachable(f"{type(error).__name__}") from error

    async def models(self) -> list[dict[str, object]]:
        """Return the server's list of models, empty if it keeps none. Raises Unreachable if it is not there.

        The key is read anew.
        """
        self._key = self._read_key()
        client = self._opened()
        try:
            async with client.stream(
                "GET", self._upstream.url + MODELS_PATH, headers=self._authorization()
            ) as response:
                if response.status_code in NO_SUCH_ROUTE:
                    return []
                if response.status_code != 200:
                    raise Unreachable(f"GET {MODELS_PATH} is answered with {response.status_code}")
                content = bytearray()
                async for piece in response.aiter_raw():
                    content += piece
                    if len(content) > MAX_MODELS_BYTES:
                        raise Unreachable(f"the list of models is longer than {MAX_MODELS_BYTES} bytes")
        except httpx.TransportError as error:
            raise Unreachable(f"GET {MODELS_PATH}: {type(error).__name__}") from error
        return _cards(bytes(content))

    async def close(self) -> None:
        """Close every connection."""
        if self._client:
            await self._client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            upstream = self._upstream
            try:
                tls = ssl.create_default_context(
                    cafile=str(resolve(upstream.ca_file)) if upstream.ca_file else None
                )
            except OSError as error:
                raise Unreachable(f"ca_file {upstream.ca_file!r}: {error.strerror}") from None
            self._client = httpx.AsyncClient(
                verify=tls,
                trust_env=False,
                follow_redirects=False,
                timeout=upstream.connect_timeout_s,
                # One more for probes.
                limits=httpx.Limits(max_connections=self._max_connections + 1),
                headers={"accept-encoding": "identity", "user-agent": "venturi"},
                # What one client's answer sets must not go along with another's request.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            )
        return self._client

    def _authorization(self) -> list[tuple[bytes, bytes]]:
        if self._key is None:
            self._key = self._read_key()
        return [(b"authorization", f"Bearer {self._key}".encode())] if self._key else []

    def _read_key(self) -> str:
        """Return the key, empty where none is needed. Raises Unreachable without a word of what was read."""
        upstream = self._upstream
        if upstream.key_env:
            name, key = f"${upstream.key_env}", environment_variable(upstream.key_env) or ""
        elif upstream.key_file:
            name = upstream.key_file
            try:
                key = resolve(name).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise Unreachable(f"key_file {name!r} cannot be read ({type(error).__name__})") from None
        else:
            return ""
        key = key.strip()
        if not key or not key.isascii() or not key.isprintable():
            raise Unreachable(f"{name} has no key in it: one line of printable ASCII")
        return key


def _sendable(headers: Headers) -> Headers:
    """Return those whose values may stand in a request, whatever a client has put there."""
    return tuple((name, value) for name, value in headers if value.isascii() and value.decode().isprintable())


def _cards(content: bytes) -> list[dict[str, object]]:
    try:
        data = json.loads(content)["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Unreachable(f"GET {MODELS_PATH}: not a list of models") from None
    return [card for card in data if isinstance(card, dict)] if isinstance(data, list) else []


def max_model_len(cards: list[dict[str, object]], model: str) -> int | None:
    """Return how many tokens `model` reads, if the list says so."""
    for card in cards:
        if card.get("id") == model:
            lengths = [length for name in LENGTH_FIELDS if isinstance(length := card.get(name), int)]
            return next((length for length in lengths if length > 0), None)
    return None
