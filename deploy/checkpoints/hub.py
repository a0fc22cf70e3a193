"""How does a checkpoint get from a hub into a folder, whole?

Only Mistral's native format is fetched: vLLM reads nothing else of this model. huggingface_hub does the
transfer, goes on where an interrupted one stopped, and knows mirrors; the hashes are compared here.
"""

import hashlib
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import httpx
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling

from deploy.checkpoints.manifest import (
    Checkpoint,
    CheckpointError,
    File,
    Say,
    problem,
    read,
    refuse_without_room,
    sha256,
    write,
)

PUBLISHED = {
    "fp8": "mistralai/Mistral-Small-4-119B-2603",
    "nvfp4": "mistralai/Mistral-Small-4-119B-2603-NVFP4",
    "eagle": "mistralai/Mistral-Small-4-119B-2603-eagle",
    "leanstral": "mistralai/Leanstral-2603",
}
"""Mistral's repositories of this architecture; any other one is named in full."""

NATIVE = ("params.json", "tekken.json", "consolidated*.safetensors", "consolidated.safetensors.index.json")


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it."""

    name: str
    size_bytes: int
    sha256: str | None
    """Of large files; small ones have `blob_id`, Git's hash of them."""
    blob_id: str

    def problem(self, path: Path) -> str | None:
        """Return what is wrong with the file at `path`, or None."""
        if self.sha256:
            return problem(path, File(self.size_bytes, self.sha256))
        if not path.is_file():
            return f"{path}: missing"
        content = path.read_bytes()
        # Git's own hash, no protection against an attacker who also controls the hub.
        found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return None if found == self.blob_id else f"{path}: Git's hash is {found}, not {self.blob_id}"


def fetch(
    which: str,
    root: Path,
    revision: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    say: Say = print,
) -> None:
    """Bring a checkpoint to a folder of its repository's name below `root`, and note it in the manifest.

    Without `revision` it is the one of the manifest, or else the newest. Raises CheckpointError.
    """
    repository = PUBLISHED.get(which, which)
    if repository.count("/") != 1:
        raise CheckpointError(f"{which!r} is neither OWNER/NAME nor one of {', '.join(PUBLISHED)}")
    name = repository.split("/")[1]
    folder = root / name
    root.mkdir(parents=True, exist_ok=True)
    noted = read(root).get(name)
    if noted and noted.repository != repository:
        raise CheckpointError(f"{folder} holds {noted.repository}: {repository} needs another root")
    if noted and revision is None:
        revision = noted.revision
    hub = HfApi(endpoint, token)
    try:
        commit, listed = _list(hub, repository, revision)
        for file in _missing(folder, listed):
            say(f"{name}/{file.name}: {file.size_bytes / 1e9:.2f} GB")
            _download(hub, repository, commit, file, folder)
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError, OSError, ValueError) as error:
        raise _told(repository, error) from None
    files = {file.name: File(file.size_bytes, file.sha256 or sha256(folder / file.name)) for file in listed}
    checkpoint = Checkpoint(repository, commit, files)
    _refuse_contradiction(noted, checkpoint)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # where huggingface_hub keeps its parts
    write(root, read(root) | {name: checkpoint})
    say(f"{folder}: whole, {repository} at {commit[:12]}, {checkpoint.size_bytes / 1e9:.2f} GB")


def _missing(folder: Path, listed: list[Listed]) -> list[Listed]:
    """Return the files that are not there as the hub has them, if there is room for them."""
    missing = [file for file in listed if file.problem(folder / file.name)]
    refuse_without_room(folder.parent, sum(file.size_bytes for file in missing))
    return missing


def _download(hub: HfApi, repository: str, commit: str, file: Listed, folder: Path) -> None:
    hub.hf_hub_download(repository, file.name, revision=commit, local_dir=folder)
    path = folder / file.name
    if wrong := file.problem(path):
        path.unlink(missing_ok=True)
        raise CheckpointError(f"{wrong}; removed, fetch it again")


def _list(api: HfApi, repository: str, revision: str | None) -> tuple[str, list[Listed]]:
    """Return the commit, and its files in the native format."""
    info = api.model_info(repository, revision=revision, files_metadata=True)
    listed = [
        _listed(file)
        for file in info.siblings or ()
        if any(fnmatch(file.rfilename, pattern) for pattern in NATIVE)
    ]
    names = {file.name for file in listed}
    if "params.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise CheckpointError(
            f"{repository}: no params.json with consolidated weights: not in Mistral's format"
        )
    if info.sha is None:
        raise CheckpointError(f"{repository}: the hub does not say which commit this is")
    return info.sha, listed


def _listed(file: RepoSibling) -> Listed:
    if file.size is None or file.blob_id is None:
        raise CheckpointError(f"{file.rfilename}: the hub says neither its size nor its hash")
    return Listed(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)


def _refuse_contradiction(noted: Checkpoint | None, fetched: Checkpoint) -> None:
    """A commit does not change: what does is a mirror that is not one."""
    if noted and noted.revision == fetched.revision and noted.files != fetched.files:
        names = sorted(n for n in noted.files | fetched.files if noted.files.get(n) != fetched.files.get(n))
        raise CheckpointError(
            f"{fetched.repository} at {fetched.revision[:12]}: {', '.join(names)} differ from the manifest"
        )


def _told(repository: str, error: Exception) -> CheckpointError:
    """Return the error in one line that says what to do."""
    if isinstance(error, CheckpointError):
        return error
    if isinstance(error, GatedRepoError):
        return CheckpointError(
            f"{repository}: is gated; accept its terms, and set HF_TOKEN to a token that may"
        )
    if isinstance(error, RepositoryNotFoundError):
        return CheckpointError(f"{repository}: not found, or not for this HF_TOKEN")
    first = (str(error) or repr(error)).strip().splitlines()[0]
    return CheckpointError(f"{repository}: {first}; what has come stays, so fetch again")
