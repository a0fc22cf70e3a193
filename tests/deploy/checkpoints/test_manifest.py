"""Checking and carrying, without a network."""

from pathlib import Path

import pytest

from deploy.checkpoints.__main__ import main
from deploy.checkpoints.manifest import Checkpoint, CheckpointError, File, read, sha256, verify, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one checkpoint of two files."""
    folder = tmp_path / "from" / "A"
    folder.mkdir(parents=True)
    (folder / "params.json").write_text("{}")
    (folder / "consolidated.safetensors").write_bytes(b"weights")
    files = {path.name: File(path.stat().st_size, sha256(path)) for path in folder.iterdir()}
    write(folder.parent, {"A": Checkpoint("someone/A", "0" * 40, files)})
    return folder.parent


def test_whole(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a checkpoint, and status 0."""
    assert main(["verify", str(root)]) == 0
    assert capsys.readouterr().out == "A: someone/A at 000000000000, whole\n"


def test_every_wrong_file_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing, and what has changed without changing its size."""
    (root / "A/params.json").unlink()
    (root / "A/consolidated.safetensors").write_bytes(b"weighty")
    assert main(["verify", str(root)]) == 1
    said = capsys.readouterr()
    assert said.out.endswith("2 of 2 files are wrong\n")
    assert f"{root}/A/params.json: missing" in said.err
    assert f"{root}/A/consolidated.safetensors: SHA-256 is " in said.err


def test_nothing_to_check_against(tmp_path: Path) -> None:
    """An empty folder is not whole."""
    with pytest.raises(CheckpointError, match=r"checkpoints\.json: there is none"):
        verify(tmp_path)


def test_a_manifest_that_leads_out_of_its_folder(root: Path) -> None:
    """File names are names, not paths."""
    text = (root / "checkpoints.json").read_text()
    (root / "checkpoints.json").write_text(text.replace("params.json", "../params.json"))
    with pytest.raises(CheckpointError, match="is no plain file name"):
        read(root)


def test_copy(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it, once: what has arrived is not copied again, and other checkpoints over there stay."""
    there = tmp_path / "disk"
    there.mkdir()
    write(there, {"B": Checkpoint("someone/B", "1" * 40, {})})
    assert main(["copy", str(root), str(there)]) == 0
    assert "A/params.json" in capsys.readouterr().out
    assert set(read(there)) == {"A", "B"}
    verify(there)
    capsys.readouterr()
    assert main(["copy", str(root), str(there)]) == 0
    assert capsys.readouterr().out == ""


def test_a_broken_source_is_not_carried(root: Path, tmp_path: Path) -> None:
    """It is in no manifest over there, nor lies there under its name."""
    (root / "A/consolidated.safetensors").write_bytes(b"weighty")
    assert main(["copy", str(root), str(tmp_path / "disk")]) == 1
    assert read(tmp_path / "disk") == {}
    assert not (tmp_path / "disk/A/consolidated.safetensors").exists()
