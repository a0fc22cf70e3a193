"""What is wrong with settings, one line for each thing?"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any


def problem_lines(error: Any) -> list[str]:
    """Write one pydantic error as lines of `path.of.key: what is wrong`."""
    path = ".".join(map(str, error["loc"]))
    context = error.get("ctx", {})
    if error["type"] == "unknown_key":
        prefix = ".".join(filter(None, [path, context["under"]]))
        return [_unknown_line(prefix, key, context["known"]) for key in context["unknown"]]
    if error["type"] == "missing":
        return [f"{path}: is required"]
    message = str(context["error"]) if "error" in context else f"{error['msg']}, not {error['input']!r}"
    return [f"{path}: {message}" if path else message]


def unknown_keys(path: str, given: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Return a line for each key under `path` that is not `known`."""
    return [_unknown_line(path, str(key), sorted(known)) for key in given if key not in known]


def _unknown_line(prefix: str, key: str, known: list[str]) -> str:
    path = f"{prefix}.{key}" if prefix else key
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"{path}: unknown key; did you mean {near[0]!r}?"
    hint = f"known: {', '.join(known)}" if len(known) <= 20 else "see vLLM's engine arguments"
    return f"{path}: unknown key; {hint}"
