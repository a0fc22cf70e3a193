"""What stands at a place of a JSON value, and is it of the type that belongs there?"""

import json
from typing import Any


class Malformed(Exception):
    """An answer is not of its dialect's shape; the message begins with the field."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")


class Part:
    """A JSON value with the path to it. Whatever reads it raises Malformed where it is of another type."""

    def __init__(self, value: Any, path: str = "") -> None:
        self.value = value
        self.path = path

    @classmethod
    def parsed(cls, text: str | bytes, path: str = "") -> "Part":
        """The value in a JSON text."""
        try:
            return cls(json.loads(text), path)
        except ValueError as error:
            raise Malformed(path or "body", f"is no JSON ({error}): {short(text)}") from None

    def fault(self, what: str) -> Malformed:
        """The error that this value is."""
        return Malformed(self.path or "body", what)

    def __getitem__(self, key: str) -> "Part":
        """The value of a key that must be there; it may be null."""
        found = self.members()
        path = f"{self.path}.{key}" if self.path else key
        if key not in found:
            raise Malformed(path, "is missing")
        return Part(found[key], path)

    def get(self, key: str) -> "Part | None":
        """The value of a key; None if it is missing or null."""
        return self[key] if self.members().get(key) is not None else None

    def members(self) -> dict[str, Any]:
        """The value itself, an object."""
        if not isinstance(self.value, dict):
            raise self.fault(f"must be an object, not {short(self.value)}")
        return self.value

    def items(self) -> list["Part"]:
        """The items of an array."""
        if not isinstance(self.value, list):
            raise self.fault(f"must be an array, not {short(self.value)}")
        return [Part(item, f"{self.path}.{place}") for place, item in enumerate(self.value)]

    def text(self) -> str:
        """A string, which may be empty."""
        if not isinstance(self.value, str):
            raise self.fault(f"must be a string, not {short(self.value)}")
        return self.value

    def name(self) -> str:
        """A string that is not empty."""
        if not self.text():
            raise self.fault("must not be empty")
        return self.text()

    def count(self) -> int:
        """A whole number of at least 0."""
        if type(self.value) is not int or self.value < 0:
            raise self.fault(f"must be a whole number of at least 0, not {short(self.value)}")
        return self.value

    def is_one_of(self, *allowed: str) -> str:
        """One of the strings that may stand there."""
        if self.value not in allowed:
            raise self.fault(f"must be {' or '.join(map(repr, allowed))}, not {short(self.value)}")
        return self.text()


def short(value: object) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}...{text[-30:]}"
