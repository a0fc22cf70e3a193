"""In which words do the parts of a response's input reach Mistral's encoder?

Reason: vLLM hands the turns of /v1/responses to mistral-common as they came, which knows the parts of chat
only. Of an assistant's message, and of an item of reasoning, it takes the first part alone.

Upstream symptom (vLLM 0.29.0): input whose content is a list ends in 400 with "'input_text' is not a valid
ChunkTypes", or 'input_image'. Later parts are lost; a refusal ends in an AttributeError.

No longer needed when: `tests/serve_app/engine/test_response_parts.py` passes without `install`.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from types import SimpleNamespace
from typing import Any

TEXTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Parts of text, and where each has it."""


def install() -> None:
    """Mend the route of this process's vLLM; calling it again changes nothing."""
    from vllm.entrypoints.openai.responses import serving

    if not hasattr(serving.construct_input_messages, "__wrapped__"):
        serving.construct_input_messages = in_words_of_chat(serving.construct_input_messages)


def in_words_of_chat(construct: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Wrap the function that makes messages of a response's input: their parts are those of chat."""

    @wraps(construct)
    def constructed(*, request_input: Any, **given: Any) -> list[Any]:
        if isinstance(request_input, list):
            request_input = [_in_one_part(item) for item in request_input]
        return [_message(message) for message in construct(request_input=request_input, **given)]

    return constructed


def _in_one_part(item: Any) -> Any:
    """Return what the assistant said, or thought, with all its texts in one part; other items as they are."""
    said = item if isinstance(item, Mapping) else vars(item)
    parts = said.get("content")
    if not isinstance(parts, list) or not (
        said.get("role") == "assistant" or said.get("type") == "reasoning"
    ):
        return item
    texts = [_text(part) for part in parts]
    if not texts or None in texts:
        return item
    text = "".join(map(str, texts))
    if item is said:
        return {**item, "content": [{"type": "output_text", "text": text}]}
    return item.model_copy(update={"content": [SimpleNamespace(text=text)]})


def _text(part: Any) -> str | None:
    given = part if isinstance(part, Mapping) else vars(part)
    return next((given[name] for name in ("text", "refusal") if isinstance(given.get(name), str)), None)


def _message(message: Any) -> Any:
    if not isinstance(message, Mapping) or not isinstance(message.get("content"), list):
        return message
    return {**message, "content": [_part(part) for part in message["content"]]}


def _part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in TEXTS:
        return {"type": "text", "text": part[TEXTS[kind]]}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    return part
