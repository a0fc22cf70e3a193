"""A checkpoint without weights: the published sizes, and a tokenizer that loads."""

import json
from pathlib import Path

from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from parallel.bench import dummy
from parallel.memory import WeightFormat
from parallel.model_shape import MISTRAL_SMALL_4, ModelShape

SMALL_4 = Path(__file__).parent.parent / "small_4" / "params.json"


def test_params() -> None:
    """The same file as the published one, in FP8."""
    assert dummy.params(MISTRAL_SMALL_4, WeightFormat.FP8) == json.loads(SMALL_4.read_text())


def test_target(tmp_path: Path) -> None:
    """The shape that was asked for, and a tokenizer with the control tokens of version 15 in their places."""
    dummy.write_target(tmp_path, MISTRAL_SMALL_4, WeightFormat.BF16)
    assert ModelShape.read(tmp_path) == MISTRAL_SMALL_4
    assert "quantization" not in json.loads((tmp_path / "params.json").read_text())
    tokenizer = MistralTokenizer.from_file(str(tmp_path / "tekken.json")).instruct_tokenizer.tokenizer
    assert tokenizer.n_words == MISTRAL_SMALL_4.vocab
    assert tokenizer.version.value == "v15"
    names = ("[INST]", "[TOOL_CALLS]", "[IMG]", "[ARGS]", "[THINK]", "[/THINK]", "[MODEL_SETTINGS]")
    assert [tokenizer.get_special_token(name) for name in names] == [3, 9, 10, 32, 34, 35, 36]
    assert tokenizer.decode(tokenizer.encode("plain text", bos=False, eos=False)) == "plain text"


def test_draft(tmp_path: Path) -> None:
    """One dense layer of the target's sizes."""
    dummy.write_draft(tmp_path, MISTRAL_SMALL_4, WeightFormat.FP8)
    shape = ModelShape.read(tmp_path, draft=True)
    assert (shape.layers, shape.dense_layers, shape.hidden) == (1, 1, 4096)
