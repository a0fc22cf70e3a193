"""Who asks? Keys and the tenants that hold them, and what holds where no keys are configured.

A key is 256 random bits, so its plain SHA-256 cannot be turned back and needs neither salt nor many rounds.
"""

import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serve_app.config import (
    Auth,
    Tenant,
    Tenants,
    YamlLoader,
    environment_variable,
    problem_lines,
    resolve,
    stands_twice,
)
from serve_app.errors import ConfigError, InvalidRequest
from serve_app.types import Headers

logger = logging.getLogger("ray.serve")

KEY_PREFIX = "vk-"
HASH_PREFIX = "sha256:"
RECHECK_PERIOD_S = 1.0
"""How often it is looked whether the keys file has changed."""


class Access(StrEnum):
    """Who may use the API."""

    KEYS = "keys"
    """Whoever has a key."""
    OPEN = "open"
    """Everyone: `ingress.auth.open` says so."""
    LOOPBACK = "loopback"
    """Whoever is on this machine: there are no keys, and nobody else is listened to."""
    CLOSED = "closed"
    """Nobody: there are no keys, and the whole network is listened to."""


def access(auth: Auth, listens_on: str) -> Access:
    """Return who may, when the API listens on that host."""
    if auth.has_keys:
        return Access.KEYS
    if auth.open:
        return Access.OPEN
    return Access.LOOPBACK if is_loopback(listens_on) else Access.CLOSED


def is_loopback(host: str) -> bool:
    """Tell whether `host`, a name or an address, can only be this machine. Other names are never resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def new_key() -> str:
    """Return a key that nobody has yet."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_hash(key: bytes) -> str:
    """Return what stands in the keys file for `key`."""
    return HASH_PREFIX + hashlib.sha256(key).hexdigest()


def presented_key(headers: Headers) -> bytes | None:
    """Return the request's key, out of `Authorization: Bearer` or `x-api-key`, or None.

    Raises InvalidRequest if there are two different ones: it would be anyone's guess who asks.
    """
    keys = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, value = value.strip().partition(b" ")
            if scheme.lower() != b"bearer":
                continue
        elif name != b"x-api-key":
            continue
        if key := value.strip():
            keys.add(key)
    if len(keys) > 1:
        raise InvalidRequest(f"the request has {len(keys)} different API keys; send one")
    return keys.pop() if keys else None


class Keyring:
    """Which tenant holds which key? Fixed; see `Keys` for one that follows its file."""

    def __init__(self, tenants: Iterable[Tenant] = ()) -> None:
        self.tenants = {tenant.name: tenant for tenant in tenants}
        self._holders = {key: tenant for tenant in self.tenants.values() for key in tenant.keys}

    def holder(self, key: bytes) -> Tenant | None:
        """Return the tenant that holds `key`, or None.

        What the time this takes can tell: the table is searched by the hash of the presented key. A sender
        who tries many keys might learn how the stored hashes begin, from how far a comparison gets. That
        is worth nothing: a key has 256 random bits, hashing it cannot be turned round, and no hash, not
        even a whole one, opens anything. The presented key itself is never compared with a stored one, and
        the last comparison, which both outcomes make, takes the same time wherever the hashes differ.
        """
        given = key_hash(key)
        tenant = self._holders.get(given)
        stored = given if tenant else NOBODYS_HASH
        return tenant if hmac.compare_digest(stored, given) else None


NOBODYS_HASH = key_hash(b"")


class Keys:
    """The keyring of the settings. `refresh` follows the file; a broken one leaves the keys as they were."""

    def __init__(self, auth: Auth) -> None:
        """Read the keys. Raises ConfigError: a replica without its keys should not take requests."""
        self._path = resolve(auth.keys_file) if auth.keys_file else None
        self._variable = auth.keys_env
        self._checked_s: float | None = None
        self._seen = self._signature()
        self.ring = self._read()

    def refresh(self, now_s: float) -> bool:
        """Look for a new file, at most every RECHECK_PERIOD_S; return whether there are new keys."""
        if self._path is None:
            return False
        if self._checked_s is not None and now_s - self._checked_s < RECHECK_PERIOD_S:
            return False
        self._checked_s = now_s
        seen = self._signature()
        if seen == self._seen:
            return False
        self._seen = seen  # of a broken file too: it is complained of once
        try:
            self.ring = self._read()
        except ConfigError as error:
            for problem in error.problems:
                logger.error(f"{problem}; the keys stay as they were")
            return False
        logger.info(f"{self._path}: read again, {len(self.ring.tenants)} tenants")
        return True

    def _signature(self) -> tuple[int, ...] | None:
        """Return what changes when the file is written or replaced; None while there is none."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> Keyring:
        tenants: list[Tenant] = []
        if self._path is not None:
            tenants += read_file(self._path)
        if self._variable is not None:
            text = environment_variable(self._variable)
            if text is None:
                raise ConfigError([f"ingress.auth.keys_env: {self._variable!r} is not set"])
            tenants += parse(text, f"${self._variable}")
        try:
            Tenants(tenants=tuple(tenants))
        except ValidationError as error:
            where = f"{self._path} and ${self._variable}"
            raise ConfigError([f"{where}: {line}" for e in error.errors() for line in _hidden(e)]) from None
        return Keyring(tenants)


def read_file(path: Path) -> tuple[Tenant, ...]:
    """Return the tenants of a keys file. Raises ConfigError with a line for each mistake."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text"]) from None
    return parse(text, str(path))


def parse(text: str, source: str) -> tuple[Tenant, ...]:
    """Return the tenants in a YAML or JSON text.

    Raises ConfigError with a line for each mistake that names `source` and the line. The mistakes' words
    come without what stands there: it may be a key.
    """
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON, which is YAML but for tabs between its tokens
    try:
        root, tree, twice = _loaded(text)
        lines = _lines_of(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "cannot be read"
        raise ConfigError([_redacted(f"{_at(source, mark and mark.line)}: not YAML: {what}")]) from None
    problems = [_redacted(f"{_at(source, key.start_mark.line)}: {stands_twice(key)}") for key in twice]
    if not isinstance(tree, dict):
        problems.append(f"{_at(source, 0)}: must be a mapping with 'tenants'")
    if problems:
        raise ConfigError(problems)
    try:
        return Tenants.model_validate(tree).tenants
    except ValidationError as error:
        raise ConfigError(
            [
                _redacted(f"{_at(source, _nearest(lines, e['loc']))}: {line}")
                for e in error.errors()
                for line in _hidden(e)
            ]
        ) from None


Place = tuple[int | str, ...]


def _loaded(text: str) -> tuple[Any, Any, list[yaml.ScalarNode]]:
    """Return the text's tree with its places in it, as plain values, and the keys that stand twice in it."""
    loader = YamlLoader(text)
    try:
        root = loader.get_single_node()
        tree = loader.construct_document(root) if root else None
        return root, tree, sorted(loader.twice, key=lambda key: key.start_mark.index)
    finally:
        loader.dispose()


def _lines_of(root: Any) -> dict[Place, int]:
    """Return on which line each value begins."""
    lines: dict[Place, int] = {}
    seen: set[int] = set()
    waiting: list[tuple[Place, Any]] = [((), root)] if root else []
    while waiting:
        place, node = waiting.pop()
        lines.setdefault(place, node.start_mark.line)
        if id(node) in seen:
            continue  # an alias
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [((*place, i), child) for i, child in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    lines[(*place, key.value)] = key.start_mark.line
                    waiting.append(((*place, key.value), value))
    return lines


def _nearest(lines: dict[Place, int], place: Place) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)


def _at(source: str, line: int | None) -> str:
    return source if line is None else f"{source}, line {line + 1}"


class _Hidden:
    def __repr__(self) -> str:
        return "what stands there"


def _hidden(error: Any) -> list[str]:
    """Write a mistake without its value, unless that is a number or an effort."""
    shown = isinstance(error["input"], int | float) or "efforts" in error["loc"]
    return problem_lines(error if shown else {**error, "input": _Hidden()})


def _redacted(text: str) -> str:
    return re.sub(rf"{KEY_PREFIX}[\w-]+", f"{KEY_PREFIX}…", text)
