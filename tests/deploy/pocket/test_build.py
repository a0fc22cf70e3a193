"""Does the build give the same bytes for the same seed, whole checkpoints only, and nothing twice?"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[3]


def build(out: Path, *options: str) -> str:
    """Run the script on a folder; gives what it printed."""
    command = [sys.executable, "-m", "deploy.pocket.build", "--out", str(out), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def digests(out: Path) -> dict[str, str]:
    """The SHA-256 of every file of both checkpoints."""
    files = sorted(file for name in ("target", "eagle") for file in (out / name).iterdir())
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder built from scratch."""
    out = tmp_path_factory.mktemp("pocket")
    assert "built" in build(out)
    return out


def test_the_bytes_depend_on_the_seed_only(built: Path, tmp_path: Path) -> None:
    """A second build of the same seed is the same file for file, one of another seed is not."""
    build(tmp_path / "same", "--seed", "0")
    assert digests(tmp_path / "same") == digests(built)
    build(tmp_path / "other", "--seed", "1")
    weights = "target/consolidated.safetensors"
    assert digests(tmp_path / "other")[weights] != digests(built)[weights]


def test_a_current_build_is_kept_and_a_broken_one_replaced(built: Path, tmp_path: Path) -> None:
    """With --if-missing current files stay, and lost or outdated ones are made again."""
    before = digests(built)
    assert "is current" in build(built, "--if-missing")
    (built / "eagle" / "build.json").unlink()
    (built / "build" / "work").mkdir()  # as an interrupted build leaves it
    assert "built" in build(built, "--if-missing")
    assert digests(built) == before
    assert "built" in build(built, "--if-missing", "--seed", "1")
    assert "built" in build(built, "--if-missing")
    assert digests(built) == before


def test_the_checkpoint_is_small_and_shaped_like_the_model(built: Path) -> None:
    """Below 30 MB with 128 experts, 4 of them active, and every tensor in bfloat16."""
    assert (
        sum(file.stat().st_size for name in ("target", "eagle") for file in (built / name).iterdir()) < 30e6
    )
    params = json.loads((built / "target" / "params.json").read_text())
    assert (params["moe"]["num_experts"], params["moe"]["num_experts_per_tok"]) == (128, 4)
    assert params["max_position_embeddings"] >= 8192
    with safe_open(built / "target" / "consolidated.safetensors", framework="pt") as weights:
        assert weights.get_slice("layers.1.experts.127.w2.weight").get_shape() == [128, 64]
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118


def test_the_tokenizer_is_of_the_models_version(built: Path) -> None:
    """Control tokens have the ids of the real vocabulary, and effort is a setting with two values."""
    tokenizer = MistralTokenizer.from_file(str(built / "target" / "tekken.json")).instruct_tokenizer.tokenizer
    assert tokenizer.version.value == "v15"
    assert tokenizer.n_words == 8192
    names = {"</s>": 2, "[TOOL_CALLS]": 9, "[IMG]": 10, "[ARGS]": 32, "[THINK]": 34, "[MODEL_SETTINGS]": 36}
    assert {name: tokenizer.get_special_token(name) for name in names} == names
    text = 'Naïve text, { "json": [1, 2] } and 漢字.'
    assert tokenizer.decode(tokenizer.encode(text, bos=False, eos=False)) == text
