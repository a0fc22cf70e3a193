"""What stands in a checkpoint's params.json? Every field is read as what it must be, or refused."""

import json
import math
import reprlib
from pathlib import Path
from typing import Any, NoReturn

FILE = "params.json"


def read(checkpoint: Path) -> Any:
    """The content of this folder's params.json. OSError without one, ValueError if it is not JSON."""
    text = (checkpoint / FILE).read_bytes()
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{FILE} is not JSON: {error}") from None


class Params:
    """An object of params.json: the whole one, or one within it, at `path`.

    ValueError if it is none. What reads a field raises ValueError too: it names the field and its value.
    """

    def __init__(self, values: Any, path: str = "") -> None:
        self._path = path
        if not isinstance(values, dict):
            _refuse(path, values, "an object")
        self._values: dict[str, Any] = values

    def count(self, name: str, least: int = 1) -> int:
        """A whole number of at least `least`."""
        value = self._required(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            _refuse(self._below(name), value, f"a whole number of at least {least}")
        return value

    def factor(self, name: str) -> float:
        """A positive number."""
        value = self._required(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            _refuse(self._below(name), value, "a positive number")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false; `default` where the field is missing or null."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            _refuse(self._below(name), value, "true or false")
        return default if value is None else value

    def text(self, name: str) -> str:
        """A string; empty where the field is missing or null."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            _refuse(self._below(name), value, "a string")
        return value or ""

    def part(self, name: str) -> "Params":
        """An object."""
        return Params(self._required(name), self._below(name))

    def optional_part(self, name: str) -> "Params | None":
        """An object; None where the field is missing or null."""
        return None if self._values.get(name) is None else self.part(name)

    def _required(self, name: str) -> Any:
        if name not in self._values:
            raise ValueError(f"{FILE} lacks the key {self._below(name)!r}")
        return self._values[name]

    def _below(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def _refuse(field: str, value: Any, wanted: str) -> NoReturn:
    where = f"{FILE}: {field}" if field else FILE
    raise ValueError(f"{where} must be {wanted}, not {reprlib.repr(value)}")
