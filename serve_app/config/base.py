"""What do all settings have in common: frozen models that refuse unknown keys, and types of values."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
Positive = Annotated[int, Field(ge=1, strict=True)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Environment = dict[str, str]
T = TypeVar("T")


def one_at_least(given: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse an empty list; `Field(min_length=1)` would complain of a misspelt member a second time."""
    if not given:
        raise ValueError("must name at least one, not []")
    return given


def web_address(given: str, like: str, credentials: str) -> None:
    """Refuse what is no http or https URL, or has a query, fragment or user in it.

    `like` is an example, `credentials` says where those belong.
    """
    # Nothing of a URL with credentials in it is repeated: they would stand in a log.
    parts = urlsplit(given)
    if "@" in parts.netloc:
        raise ValueError(f"must have no user or password; {credentials}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"must be like {like}, without query or fragment, not {given!r}")
    _ = parts.port  # raises ValueError for one that is none


def refuse_unknown(given: Mapping[str, Any], known: Collection[str], under: str = "") -> None:
    """Raise an error that `problems.lines` writes as a line for each key of `given` that is not `known`."""
    unknown = [str(key) for key in given if key not in known]
    if unknown:
        # `known` rides along for the message: `problem_lines` writes one line a key.
        context = {"unknown": unknown, "known": sorted(known), "under": under}
        raise PydanticCustomError("unknown_key", "unknown keys", context)


class Frozen(BaseModel):
    """Settings that cannot change."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if isinstance(given, dict):
            refuse_unknown(given, cls.model_fields)
        return given
