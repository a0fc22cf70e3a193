"""What do tests of the engine share?"""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tokenizer(checkpoint: Path) -> Any:
    """The pocket model's tokenizer."""
    from vllm.tokenizers.mistral import MistralTokenizer

    return MistralTokenizer.from_pretrained(str(checkpoint / "target"))
