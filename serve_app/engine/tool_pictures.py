"""In which order do pictures among the results of tools reach Mistral's encoder?

Reason: in /v1/messages vLLM makes of each result with a picture a turn of the tool and, behind it, one of the
user, who has the picture.

Upstream symptom (vLLM 0.29.0): of several results in one turn all but the last one must be without pictures:
"Unexpected role 'tool' after role 'user'", a 400 that no later turn of the conversation gets rid of.

No longer needed when: `tests/serve_app/engine/test_tool_pictures.py` passes without `install`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any


def install() -> None:
    """Mend the route of this process's vLLM; calling it again changes nothing."""
    from vllm.entrypoints.anthropic.serving import AnthropicServingMessages as Serving

    if not hasattr(Serving._convert_message_content, "__wrapped__"):
        Serving._convert_message_content = results_first(Serving._convert_message_content)


def results_first(convert: Callable[..., None]) -> Callable[..., None]:
    """Wrap the function that makes turns of one message's parts: those of tools come before pictures."""

    @wraps(convert)
    def converted(message: Any, turn: Any, turns: list[Any]) -> None:
        begin = len(turns)
        convert(message, turn, turns)
        turns[begin:] = sorted(turns[begin:], key=lambda one: one["role"] != "tool")

    return converted
