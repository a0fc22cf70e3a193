"""What does the policy get to know about a request? Read off its body, in whichever dialect.

The beginnings of a prompt are told apart by hashes of its text, in the order in which the model sees it:
system prompt and tools, then the effort, then the turns (the tokenizer writes the effort between the tools
and the first turn). So equal keys mean an equal beginning, and a change of effort keeps what is before it.
It is vLLM that counts tokens; here they are estimated from bytes.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from serve_app.types import BYTES_PER_TOKEN, NO_TENANT, Block, Effort, RequestFeatures

PLAIN_DECODING_FIELDS = ("allowed_token_ids", "logit_bias", "min_p")
"""What vLLM 0.29's model runner V1, which is the one on CPUs, does not honour while it speculates."""
MAX_TOKENS_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
SESSION_FIELDS = (("prompt_cache_key",), ("metadata", "session_id"), ("metadata", "user_id"), ("user",))
"""Where clients name a conversation or a user, the most telling first."""
FORMAT_FIELDS = (("response_format",), ("text", "format"), ("output_config", "format"))
"""Where the dialects ask for a form of the answer."""
SYSTEM_ROLES = ("system", "developer")
IMAGE_FIELDS = ("image_url", "source")
"""Under these keys a part has an image; `ingress/parts.py` reads them with care."""

IMAGE_TOKENS = 1000
"""Of an image whose size nobody has looked at: about 900 by 900 pixels."""

FIRST_BLOCK_BYTES = 1024
BLOCK_GROWTH = 1.5
MAX_MARKS = 24
"""Blocks end after 1 KiB and then at 1.5 times the length each, up to 11 MB;"""
MAX_TURNS = 8
"""and where the system prompt and tools end, and the last few turns: there the next request will go on."""


def of_request(
    body: Mapping[str, Any],
    effort: Effort,
    tenant: str = NO_TENANT,
    priority: int = 0,
    num_images: int = 0,
    route: str | None = None,
) -> RequestFeatures:
    """Read the features off the body of a request of that effort, tenant, number of images and route.

    Nothing is refused: what has the wrong type or sign is passed over, and vLLM says what is wrong with it.
    """
    blocks, num_bytes = _prompt(body, effort)
    max_tokens = next((body[f] for f in MAX_TOKENS_FIELDS if _is_count(body.get(f))), None)
    return RequestFeatures(
        effort,
        tuple(field for field in PLAIN_DECODING_FIELDS if body.get(field)),
        tenant,
        priority,
        prompt_tokens=num_bytes // BYTES_PER_TOKEN + num_images * IMAGE_TOKENS,
        max_tokens=max_tokens,
        num_images=num_images,
        has_schema=_has_schema(body),
        has_tools=bool(body.get("tools")),
        stream=body.get("stream") is True,
        blocks=blocks,
        session=_session(body, tenant),
        route=route,
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _prompt(body: Mapping[str, Any], effort: Effort) -> tuple[tuple[Block, ...], int]:
    """Return the beginnings of the prompt, and how many bytes of text it has."""
    head = [body.get("system"), body.get("instructions")]
    turns: Any = next((body[key] for key in ("messages", "input", "prompt") if body.get(key)), [])
    turns = list(turns) if isinstance(turns, list) else [turns]
    if turns and all(isinstance(turn, int) for turn in turns):
        turns = [" ".join(map(str, turns))]  # a prompt of token ids
    while turns and isinstance(turns[0], Mapping) and turns[0].get("role") in SYSTEM_ROLES:
        head.append(turns.pop(0))
    text = _Text()
    text.add([*head, body.get("tools")])
    text.end_turn()
    text.add(effort.value)
    for turn in turns:
        text.add(turn)
        text.end_turn()
    return text.blocks(), text.num_bytes


class _Text:
    """A text that grows, and the keys of its beginnings."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._hash = hashlib.blake2b(digest_size=8)
        self._marks: list[Block] = []
        self._next_mark = FIRST_BLOCK_BYTES
        self._head: list[Block] = []
        self._turns: deque[Block] = deque(maxlen=MAX_TURNS)

    def add(self, value: object) -> None:
        """Add every string and number in `value`."""
        for string in _strings(value):
            self._feed(string.encode(errors="surrogatepass") + b"\0")

    def end_turn(self) -> None:
        """Note that a beginning ends here: the first one is the head's."""
        (self._turns if self._head else self._head).append(self._block())

    def blocks(self) -> tuple[Block, ...]:
        """Return the beginnings, the shortest first."""
        return tuple(sorted({*self._marks, *self._head, *self._turns}, key=lambda block: block.num_tokens))

    def _feed(self, data: bytes) -> None:
        while self.num_bytes + len(data) >= self._next_mark and len(self._marks) < MAX_MARKS:
            piece, data = data[: self._next_mark - self.num_bytes], data[self._next_mark - self.num_bytes :]
            self._hash.update(piece)
            self.num_bytes += len(piece)
            self._marks.append(self._block())
            self._next_mark = int(self._next_mark * BLOCK_GROWTH)
        self._hash.update(data)
        self.num_bytes += len(data)

    def _block(self) -> Block:
        return Block(int.from_bytes(self._hash.digest(), "little"), self.num_bytes // BYTES_PER_TOKEN)


def _strings(value: object) -> Iterator[str]:
    """Yield the strings and numbers in a JSON value, keys too, in order; of an image a part of its URL."""
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, str):
            yield top
        elif isinstance(top, list):
            stack.extend(reversed(top))
        elif isinstance(top, dict):
            for key, inner in reversed(top.items()):
                stack += [_image(inner) if key in IMAGE_FIELDS else inner, key]
        elif top is not None:
            yield str(top)


def _image(value: object) -> str:
    """Return what tells one image from another, well enough and at no cost."""
    url = value
    if isinstance(value, Mapping):
        url = value.get("url") or value.get("data")
    return f"{len(url)} {url[:64]} {url[-64:]}" if isinstance(url, str) else ""


def _has_schema(body: Mapping[str, Any]) -> bool:
    if body.get("structured_outputs"):
        return True
    formats = (_at(body, place) for place in FORMAT_FIELDS)
    return any(isinstance(f, Mapping) and f.get("type") not in (None, "text") for f in formats)


def _session(body: Mapping[str, Any], tenant: str) -> str | None:
    """Return the session as a short key of its own tenant, whatever the client calls it."""
    for place in SESSION_FIELDS:
        name = _at(body, place)
        if isinstance(name, str) and name:
            whole = f"{tenant}\0{name}".encode(errors="surrogatepass")
            return hashlib.blake2b(whole, digest_size=8).hexdigest()
    return None


def _at(body: Mapping[str, Any], place: tuple[str, ...]) -> object:
    value: object = body
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
