"""Do vLLM and transformers understand a checkpoint of this format in the same way?

Both compute in float32, where they may differ by rounding only. (What could make more of it is a router to
which two experts look equally good for the last active place.)
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.deploy.pocket.truth_prompts import Case, Kind, Prompts
from tests.deploy.pocket.truth_transformers import Reference

pytestmark = pytest.mark.engine

ENGINE_LIMIT_S = 900
TOLERANCE = 1e-4
LONG_TOLERANCE = 2e-4
"""After thousands of tokens: attention sums over all of them, and so do its roundings."""
ENVIRONMENT = {
    "VLLM_MLA_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process less to start
}

WRONG: dict[str, tuple[Kind, Callable[[Any], object]]] = {
    "yarn's scale of attention": ("text", lambda c: c.text_config.rope_parameters.update(mscale_all_dim=1.0)),
    "frequencies without yarn": ("text", lambda c: c.text_config.rope_parameters.update(factor=1.0)),
    "halves for pairs": ("text", lambda c: setattr(c.text_config, "rope_interleave", False)),
    "no Llama-4 scaling": ("long", lambda c: c.text_config.rope_parameters.update(llama_4_scaling_beta=0.0)),
    "GELU in the tower": ("image", lambda c: setattr(c.vision_config, "hidden_act", "gelu")),
}
"""Wrong readings of the format as changes of the configuration, with the kind of prompt that shows each."""


@dataclass(frozen=True)
class Seen:
    """What the engine made of a prompt.

    `tokens` [T] are the prompt and its answer; `logits` [P, V] those of the last positions but the very last.
    """

    case: Case
    tokens: torch.Tensor
    logits: torch.Tensor

    def error(self, reference: Reference) -> torch.Tensor:
        """By how much the reference's logits differ at most, in tolerances, at each of the P positions."""
        read = self.tokens[:-1]
        wanted = reference.logits(read, self.case.pixels, len(self.logits))
        tolerance = LONG_TOLERANCE if self.case.kind == "long" else TOLERANCE
        return (self.logits - wanted).abs().amax(-1) / tolerance


@pytest.fixture(scope="module")
def seen(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    """What the real engine makes of twenty prompts."""
    folder = tmp_path_factory.mktemp("truth")
    cases = Prompts(checkpoint / "target").cases()
    prompts = []
    for case in cases:
        files = [folder / f"{case.name}, {place}.png" for place in range(len(case.images))]
        for file, image in zip(files, case.images, strict=True):
            image.save(file)
        wanted = {"images": [str(file) for file in files], "every_position": case.kind != "long"}
        prompts.append({"tokens": case.tokens} | wanted)
    job, out, log = folder / "job.json", folder / "logits.safetensors", folder / "log.txt"
    job.write_text(json.dumps({"model": str(checkpoint / "target"), "prompts": prompts}))
    with log.open("w") as sink:
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("truth_engine.py"), job, out],
            env=os.environ | ENVIRONMENT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            timeout=ENGINE_LIMIT_S,
        )
    assert done.returncode == 0, log.read_text()[-6000:]
    found = load_file(out)
    return [Seen(case, found[f"tokens.{n}"], found[f"logits.{n}"]) for n, case in enumerate(cases)]


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    """The same checkpoint in transformers."""
    return Reference(checkpoint / "target")


def test_prompts_cover_what_they_should(seen: list[Seen]) -> None:
    """Twenty, with none, one and two images; logits at every position, of long ones from the answer on."""
    assert len(seen) == 20
    assert {len(one.case.images) for one in seen} == {0, 1, 2}
    for one in seen:
        assert one.tokens[: len(one.case.tokens)].tolist() == one.case.tokens
        num_answered = len(one.tokens) - len(one.case.tokens)
        assert len(one.logits) == (num_answered if one.case.kind == "long" else len(one.tokens) - 1)


def test_logits_of_all_tokens_are_equal(seen: list[Seen], reference: Reference) -> None:
    """At every position of every prompt and of its answer, whatever the prompt is made of."""
    errors = {one.case.name: float(one.error(reference).max()) for one in seen}
    assert all(error < 1 for error in errors.values()), errors


@pytest.mark.parametrize("reading", WRONG)
def test_a_wrong_reading_would_be_seen(seen: list[Seen], checkpoint: Path, reading: str) -> None:
    """Logits that a wrong reading of the format gives differ by ten tolerances and more."""
    kind, change = WRONG[reading]
    wrong = Reference(checkpoint / "target", change)
    one = next(one for one in seen if one.case.kind == kind)
    assert float(one.error(wrong).max()) > 10
