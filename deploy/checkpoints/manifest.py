"""Which files belong to each checkpoint in a folder, and are they whole?

The folder's `checkpoints.json` says it: by checkpoint the repository, the commit, and of each file the size
and SHA-256. It is written when all files of a checkpoint have been checked, so what it names was whole once.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parallel.results_file import write_json

NAME = "checkpoints.json"
CHUNK_BYTES = 16 * 2**20
Say = Callable[[str], None]


class CheckpointError(ValueError):
    """What is wrong, a line each."""


@dataclass(frozen=True)
class File:
    """One file of a checkpoint."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """What a folder of this manifest holds."""

    repository: str
    revision: str
    """The commit, 40 hexadecimal digits."""
    files: dict[str, File]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files.values())


def read(root: Path) -> dict[str, Checkpoint]:
    """Return the checkpoints below `root` by folder; none if it has no manifest. Raises CheckpointError."""
    path = root / NAME
    if not path.exists():
        return {}
    try:
        tree = json.loads(path.read_text())
        return {folder: _checkpoint(entry) for folder, entry in tree.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a manifest of checkpoints: {error!r}") from None


def _checkpoint(entry: dict[str, Any]) -> Checkpoint:
    files = {name: File(**file) for name, file in entry["files"].items()}
    if outside := [name for name in files if Path(name).name != name]:
        raise ValueError(f"{outside[0]!r} is no plain file name")
    return Checkpoint(entry["repository"], entry["revision"], files)


def write(root: Path, checkpoints: dict[str, Checkpoint]) -> None:
    """Replace the manifest in one step."""
    write_json(root / NAME, {name: asdict(one) for name, one in sorted(checkpoints.items())})


def sha256(path: Path) -> str:
    """Return the hash of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def problem(path: Path, file: File) -> str | None:
    """Return what is wrong with the file at `path`, or None."""
    if not path.is_file():
        return f"{path}: missing"
    size_bytes = path.stat().st_size
    if size_bytes != file.size_bytes:
        return f"{path}: has {size_bytes} bytes, not {file.size_bytes}"
    found = sha256(path)
    return None if found == file.sha256 else f"{path}: SHA-256 is {found}, not {file.sha256}"


def verify(root: Path, say: Say = print) -> None:
    """Check every file that the manifest names, without a network. Raises CheckpointError."""
    checkpoints = read(root)
    if not checkpoints:
        raise CheckpointError(f"{root / NAME}: there is none, so nothing to check against")
    problems = []
    for folder, checkpoint in checkpoints.items():
        found = [p for name, file in checkpoint.files.items() if (p := problem(root / folder / name, file))]
        state = f"{len(found)} of {len(checkpoint.files)} files are wrong" if found else "whole"
        say(f"{folder}: {checkpoint.repository} at {checkpoint.revision[:12]}, {state}")
        problems += found
    if problems:
        raise CheckpointError("\n".join(problems))


def copy(source: Path, target: Path, say: Say = print) -> None:
    """Copy every checkpoint to another root, such as a disk to be carried; what is there and whole is kept.

    What arrives is hashed, so a file that is broken here or on the way is not in the manifest over there.
    Raises CheckpointError.
    """
    checkpoints = read(source)
    if not checkpoints:
        raise CheckpointError(f"{source / NAME}: there is none, so nothing to copy")
    target.mkdir(parents=True, exist_ok=True)
    there = read(target)
    for folder, checkpoint in checkpoints.items():
        missing = {n: f for n, f in checkpoint.files.items() if problem(target / folder / n, f)}
        refuse_without_room(target, sum(file.size_bytes for file in missing.values()))
        for name, file in missing.items():
            say(f"{folder}/{name}: {file.size_bytes / 1e9:.2f} GB")
            _copy(source / folder / name, target / folder / name, file)
        there[folder] = checkpoint
        write(target, there)


def _copy(source: Path, target: Path, file: File) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as written:
            for chunk in _chunks(source):
                written.write(chunk)
    except OSError as error:
        raise CheckpointError(f"{error.filename or target}: {error.strerror}") from None
    if wrong := problem(part, file):
        part.unlink()
        raise CheckpointError(f"{source}: does not arrive as the manifest has it ({wrong})")
    part.replace(target)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def refuse_without_room(root: Path, needed_bytes: int) -> None:
    """Raise CheckpointError if the disk of `root` has less room than that."""
    free_bytes = shutil.disk_usage(root).free
    if needed_bytes > free_bytes:
        raise CheckpointError(
            f"{root}: {needed_bytes / 1e9:.2f} GB are needed, {free_bytes / 1e9:.2f} GB free"
        )
