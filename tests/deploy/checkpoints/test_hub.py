"""Fetching, against a hub that breaks off, lies, and refuses."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from deploy.checkpoints import manifest
from deploy.checkpoints.hub import fetch
from deploy.checkpoints.manifest import CheckpointError
from tests.deploy.checkpoints.hub_server import COMMIT, Hub, serve

REPOSITORY = "someone/A-Model"
WEIGHTS = bytes(range(256)) * 4096
FILES = {
    "README.md": b"not needed",
    "model-00001-of-00001.safetensors": b"the other format",
    "params.json": b"{}",
    "tekken.json": b'{"config": {}}',
    "consolidated-00001-of-00001.safetensors": WEIGHTS,
    "consolidated.safetensors.index.json": b'{"weight_map": {}}',
}
NEEDED = sorted(name for name in FILES if name.startswith(("params", "tekken", "consolidated")))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that behaves, unless told otherwise."""
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with serve(Hub(REPOSITORY, dict(FILES))) as hub:
        yield hub


def quiet(_: str) -> None:
    """Say nothing."""


def bring(hub: Hub, root: Path, token: str | None = None) -> None:
    """Fetch the repository."""
    fetch(REPOSITORY, root, endpoint=hub.url, token=token, say=quiet)


def test_only_the_native_files_come_and_are_noted(hub: Hub, tmp_path: Path) -> None:
    """Into a folder of the repository's name; the manifest has the commit, and SHA-256 of all."""
    bring(hub, tmp_path)
    assert sorted(path.name for path in (tmp_path / "A-Model").iterdir()) == NEEDED
    entry = json.loads((tmp_path / "checkpoints.json").read_text())["A-Model"]
    assert (entry["repository"], entry["revision"]) == (REPOSITORY, COMMIT)
    assert {name: file["sha256"] for name, file in entry["files"].items()} == {
        name: hashlib.sha256(FILES[name]).hexdigest() for name in NEEDED
    }
    manifest.verify(tmp_path, quiet)


def test_what_is_there_and_whole_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    """A file that was spoilt since is."""
    bring(hub, tmp_path)
    hub.served.clear()
    (tmp_path / "A-Model/tekken.json").write_bytes(b"x" * len(FILES["tekken.json"]))
    bring(hub, tmp_path)
    assert hub.served == ["tekken.json"]


def test_an_interrupted_transfer_goes_on_where_it_stopped(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next fetch, too, asks for the rest alone."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 65536)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.break_after_bytes, hub.rests = 300_000, False
    with pytest.raises(CheckpointError, match="what has come stays, so fetch again"):
        bring(hub, tmp_path)
    assert manifest.read(tmp_path) == {}
    hub.ranges.clear()
    hub.rests = True
    bring(hub, tmp_path)
    assert hub.ranges == ["bytes=262144-", "bytes=524288-", "bytes=786432-"]
    assert (tmp_path / "A-Model/consolidated-00001-of-00001.safetensors").read_bytes() == WEIGHTS


def test_a_wrong_hash_is_refused(hub: Hub, tmp_path: Path) -> None:
    """The file is removed, nothing is noted, and the next fetch has it right."""
    hub.corrupt = {"consolidated-00001-of-00001.safetensors"}
    with pytest.raises(CheckpointError, match=r"SHA-256 is .*; removed, fetch it again"):
        bring(hub, tmp_path)
    assert not (tmp_path / "A-Model/consolidated-00001-of-00001.safetensors").exists()
    assert manifest.read(tmp_path) == {}
    hub.corrupt = set()
    bring(hub, tmp_path)
    manifest.verify(tmp_path, quiet)


def test_a_wrong_small_file_is_refused(hub: Hub, tmp_path: Path) -> None:
    """By Git's hash, which is all that a hub gives of it."""
    hub.corrupt = {"params.json"}
    with pytest.raises(CheckpointError, match=r"params\.json: Git's hash is"):
        bring(hub, tmp_path)


def test_gated_and_unknown_repositories(hub: Hub, tmp_path: Path) -> None:
    """The error says what to do; the right token gets in."""
    hub.token, hub.gated = "hf_right", True
    with pytest.raises(
        CheckpointError, match="someone/A-Model: is gated; accept its terms, and set HF_TOKEN"
    ):
        bring(hub, tmp_path, token="hf_wrong")
    hub.gated = False
    with pytest.raises(CheckpointError, match="someone/A-Model: not found, or not for this HF_TOKEN"):
        bring(hub, tmp_path, token="hf_wrong")
    bring(hub, tmp_path, token="hf_right")


def test_no_room(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before the first byte comes."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(CheckpointError, match=r"0\.00 GB are needed, 0\.00 GB free"):
        bring(hub, tmp_path)
    assert hub.served == []


def test_other_formats_are_refused(hub: Hub, tmp_path: Path) -> None:
    """Transformers' format cannot be served."""
    del hub.files["params.json"]
    with pytest.raises(CheckpointError, match="not in Mistral's format"):
        bring(hub, tmp_path)


def test_a_mirror_with_other_files_for_the_same_commit(hub: Hub, tmp_path: Path) -> None:
    """What the manifest has pinned is not replaced by it."""
    bring(hub, tmp_path)
    hub.files["tekken.json"] = b'{"config": {"other": 1}}'
    with pytest.raises(CheckpointError, match=r"at c0ffee000000: tekken\.json differ from the manifest"):
        bring(hub, tmp_path)


def test_a_name_that_is_none() -> None:
    """Neither a shorthand nor a repository."""
    with pytest.raises(CheckpointError, match="'fp9' is neither OWNER/NAME nor one of fp8, nvfp4, eagle"):
        fetch("fp9", Path("/nowhere"))
