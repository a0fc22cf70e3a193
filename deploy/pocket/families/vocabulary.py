"""Of which tokens are words made, so that a word to copy holds none that training never shows?"""

import base64
from collections.abc import Iterable
from functools import cache
from re import fullmatch

from deploy.pocket.shape import Shape, tekken

MAX_LETTERS = 9


@cache
def _pieces() -> frozenset[str]:
    """The tokens that are letters of English, at most the first a capital, some with a space in front."""
    texts = (
        base64.b64decode(token["token_bytes"]).decode(errors="replace") for token in tekken(Shape())["vocab"]
    )
    return frozenset(text for text in texts if fullmatch(" ?[A-Za-z][a-z]*", text))


@cache
def starts() -> tuple[str, ...]:
    """The tokens that begin a word, in small letters and without the space; many are whole words."""
    return tuple(sorted(_found(piece.strip().lower() for piece in _pieces() if piece.startswith(" "))))


@cache
def parts() -> tuple[str, ...]:
    """The tokens that go on with a word."""
    return tuple(sorted(_found(piece for piece in _pieces() if piece.islower() and piece[0] != " ")))


def _found(texts: Iterable[str]) -> set[str]:
    return {text for text in texts if 2 <= len(text) <= MAX_LETTERS}


def is_one_token(word: str) -> bool:
    """Whether the word, in small letters, is a token in any of the ways to write it."""
    ways = (word, word.capitalize())
    return any(way in _pieces() or f" {way}" in _pieces() for way in ways)
