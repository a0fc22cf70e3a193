"""Which fixes does a process have after vLLM loaded its plugins? Run as a script; prints a line of JSON.

`in_effect` by the name of the fix, `platform` and `vision_error` (null if vLLM's Pixtral can be imported).
"""

import importlib
import json

from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins

from parallel.vllm_plugin.fixes import FIXES


def vision_error() -> str | None:
    """Why vLLM's vision tower cannot be imported, if so."""
    try:
        importlib.import_module("vllm.model_executor.models.pixtral")
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    load_general_plugins()
    load_general_plugins()  # as vLLM may
    in_effect = {fix.name: fix.in_effect() for fix in FIXES}
    found = {
        "in_effect": in_effect,
        "platform": type(current_platform).__name__,
        "vision_error": vision_error(),
    }
    print(json.dumps(found))
