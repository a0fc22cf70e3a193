"""Who may use the API, and how much of it?"""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from serve_app.config.base import Frozen, Name, Positive, one_at_least
from serve_app.types import Effort

KEY_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def _key_hash(given: str) -> str:
    # Not a word of what was given: whoever writes the key itself here should not find it in a log.
    if not KEY_HASH.fullmatch(given):
        raise ValueError(
            f"must be 'sha256:' and 64 hexadecimal digits, not these {len(given)} characters; "
            f"'python -m serve_app key' makes one"
        )
    return given


class Tenant(Frozen):
    """Whoever holds one of some keys, and what they may use; a limit that is not given does not hold."""

    name: Name
    keys: tuple[Annotated[str, AfterValidator(_key_hash)], ...] = ()
    """Hashes of the keys, as `python -m serve_app key` prints them; the keys themselves stand nowhere."""
    requests_per_min: Positive | None = None
    tokens_per_min: Positive | None = None
    """Tokens of prompts and answers together."""
    concurrent_requests: Positive | None = None
    efforts: Annotated[tuple[Effort, ...], AfterValidator(one_at_least)] = tuple(Effort)
    priority: Annotated[int, Field(strict=True)] = 0
    """More is more important."""
    operator: Annotated[bool, Field(strict=True)] = False
    """Whether it may see what the pools and all tenants' requests do: `/venturi/*`."""


class Tenants(Frozen):
    """The whole of a keys file. An empty list is valid: nobody may."""

    tenants: tuple[Tenant, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [tenant.name for tenant in self.tenants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tenants: {', '.join(map(repr, twice))} stands there more than once")
        holders: dict[str, str] = {}
        for tenant in self.tenants:
            for key in tenant.keys:
                if holder := holders.get(key):
                    raise ValueError(f"tenants: one key hash stands at {holder!r} and at {tenant.name!r}")
                holders[key] = tenant.name
        return self


class Auth(Frozen):
    """Who may use the API. Without keys: whoever is on this machine, if only this machine is listened to."""

    keys_file: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A YAML or JSON file of tenants, on every node with an ingress replica. It is read again when it
    changes. A relative path is relative to the project's root."""
    keys_env: Annotated[str, StringConstraints(min_length=1)] | None = None
    """The name of an environment variable of the ingress replicas with such a text in it."""
    open: Annotated[bool, Field(strict=True)] = False
    """Whether everyone may, wherever they are. Only without keys."""

    @model_validator(mode="after")
    def _keys_or_open(self) -> Self:
        if self.open and self.has_keys:
            name = "keys_file" if self.keys_file else "keys_env"
            raise ValueError(f"open={self.open} and {name}={getattr(self, name)!r} exclude each other")
        return self

    @property
    def has_keys(self) -> bool:
        """Whether requests need a key."""
        return self.keys_file is not None or self.keys_env is not None
