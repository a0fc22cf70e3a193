"""How is the pocket model's engine started for a benchmark in one process?"""

import os
from typing import Any

from serve_app.config import PROJECT_ROOT

TARGET = PROJECT_ROOT / "deploy/pocket/target"


def pocket_engine(*, max_num_seqs: int, **more: Any) -> Any:
    """Return vLLM's `LLM` of it, without cached prompts, so that every prompt is read.

    `more` are engine arguments of vLLM's.
    """
    os.environ.setdefault("VLLM_MLA_DISABLE", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from vllm import LLM

    return LLM(
        model=str(TARGET),
        tokenizer_mode="mistral",
        config_format="mistral",
        load_format="mistral",
        enforce_eager=True,
        max_model_len=2048,
        max_num_seqs=max_num_seqs,
        enable_prefix_caching=False,
        **more,
    )
