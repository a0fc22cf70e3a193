"""What does the process around us say? The only reader of its environment."""

import os
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def resolve(path: str) -> Path:
    """Return `path` as it is if absolute, else below the project's root."""
    return PROJECT_ROOT / path


def environment_variable(name: str) -> str | None:
    """Return a variable of this process's environment, or None if it is not set."""
    return os.environ.get(name)


def process_environment() -> dict[str, str]:
    """Return a copy of this process's environment, for a child process."""
    return dict(os.environ)
