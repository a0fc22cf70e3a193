"""What do tests of several parts share?"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair.
settings.register_profile("venturi", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("venturi")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The folder with the pocket model's `target/` and `eagle/`."""
    return ROOT / "deploy" / "pocket"


@pytest.fixture(scope="session")
def tokenizer(checkpoint: Path) -> Any:
    """The pocket model's tokenizer, as vLLM loads it."""
    from vllm.tokenizers.mistral import MistralTokenizer

    return MistralTokenizer.from_pretrained(str(checkpoint / "target"))
